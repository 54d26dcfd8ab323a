"""Whole files: old or new content, readable by others, and one message when it cannot be."""

import errno
import math
import os
import stat

import numpy as np
import pytest
from etils import epath

from mpt_jax import files
from mpt_jax.errors import UserError


def test_text_and_bytes_replace_what_was_there(tmp_path):
    path = tmp_path / "new" / "file"
    files.write_whole(path, "grüße\n")
    assert path.read_bytes() == "grüße\n".encode()
    files.write_whole(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert os.listdir(path.parent) == ["file"]


def test_the_mode_follows_the_umask(tmp_path):
    files.write_whole(tmp_path / "file", b"")
    (tmp_path / "plain").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "plain")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("fails", ["write_bytes", "replace"])
def test_a_failure_keeps_the_old_content_and_leaves_nothing_behind(tmp_path, monkeypatch, fails):
    path = tmp_path / "file"
    path.write_text("old")

    def full(*unused_args, **unused_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(epath.Path(path)), fails, full)
    with pytest.raises(UserError, match="file: No space left on device.*--gin.OUTPUT=PATH"):
        files.write_whole(path, "new", setting="OUTPUT")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_unwritable_place_is_known_beforehand(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "below", tmp_path):
        with pytest.raises(UserError, match=f"cannot write {path}.*--gin.OUTPUT=PATH"):
            files.check_writable(path, setting="OUTPUT")
    files.check_writable(tmp_path / "folder" / "file", setting="OUTPUT")
    assert os.listdir(tmp_path / "folder") == []


def test_a_new_folder_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "deep" / "folder"
    with files.new_folder(path) as folder:
        (folder / "file").write_text("a")
        assert not path.exists()
    assert os.listdir(path) == ["file"]
    assert os.listdir(path.parent) == ["folder"]
    with pytest.raises(UserError, match="folder exists"), files.new_folder(path):
        raise AssertionError("its content is not reached")


def test_a_new_folder_that_fails_leaves_nothing_behind(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()  # empty: it may be taken
    message = "cannot write .*folder: No space left"
    with pytest.raises(UserError, match=message), files.new_folder(path) as folder:
        (folder / "file").write_text("a")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(KeyboardInterrupt), files.new_folder(path):
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(path) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1', "Expecting"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"a": [-Infinity]}', "-Infinity is not a JSON number"),
        ('{"a": 1e999}', "1e999 is not a JSON number"),
        ('{"a": 1, "b": 2, "a": 3}', "'a' is there twice"),
        ("[" * 200_000, "recursion"),
        ('{"a": ' * 101 + "1" + "}" * 101, "over 100 brackets deep"),
        ("[1, 2]", "holds no JSON object"),
        ("9" * 5000, "Exceeds the limit"),
        (b"\xff{}", "decode"),
    ],
)
def test_json_that_is_none_is_one_message(text, reason, tmp_path):
    path = tmp_path / "some.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    with pytest.raises(UserError, match=reason) as caught:
        files.read_json(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 500
    (tmp_path / "lines.jsonl").write_bytes(b'{"a": 1}\n' + path.read_bytes() + b"\n")
    with pytest.raises(UserError, match="lines.jsonl, line 2,"):
        files.read_json_lines(tmp_path / "lines.jsonl")


def test_json_comes_back_as_it_was_but_for_what_is_not_finite(tmp_path):
    value = {"a": [1, 2.5, None, True, "é\n"], "b": {"c": -1e-300}, "d": {"e": [[[]]]}}
    path = tmp_path / "some.json"
    path.write_text(files.to_json(value))
    assert files.read_json(path) == value
    path.write_text(files.to_json({"a": [math.nan, (math.inf,)], "b": np.float64("nan")}))
    assert files.read_json(path) == {"a": [None, [None]], "b": None}
    (tmp_path / "lines.jsonl").write_text('{"a": 1}\n{"a": 2}\n{"a"')  # cut short by a kill
    assert files.read_json_lines(tmp_path / "lines.jsonl") == [{"a": 1}, {"a": 2}]


def test_a_large_json_file_is_not_read(tmp_path):
    with (tmp_path / "some.json").open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(UserError, match="over 64 MiB"):
        files.read_json(tmp_path / "some.json")


@pytest.mark.parametrize("values", [{}, {"a": "1"}, {"a": True}, {"a": None}])
def test_a_field_of_another_kind_is_named(values):
    with pytest.raises(UserError, match="x.json has no usable 'a'"):
        files.check_fields(values, {"a": (int, float)}, "x.json")
    files.check_fields({"a": 1, "b": True}, {"a": int, "b": bool}, "x.json")


def test_what_a_killed_process_left_is_removed(tmp_path):
    left = tmp_path / "folder.mpt_jax.partial" / "below"
    left.mkdir(parents=True)
    (left / "file").write_text("half")
    with files.new_folder(tmp_path / "folder") as folder:
        assert os.listdir(folder) == []
        (folder / "whole").touch()
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == ["whole"]


def test_a_folder_that_another_process_writes_is_left_to_it(tmp_path):
    with files.new_folder(tmp_path / "folder") as folder:
        (folder / "file").touch()
        with (
            pytest.raises(UserError, match="folder.mpt_jax.partial is being written by another"),
            files.new_folder(tmp_path / "folder"),
        ):
            raise AssertionError("its content is not reached")
    assert os.listdir(tmp_path / "folder") == ["file"]
