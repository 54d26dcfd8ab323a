"""Gin files are found from any folder, the user's own first."""

import pytest

from mpt_jax.configuration import gin_files
from mpt_jax.errors import UserError


def test_shipped_files_are_found_with_and_without_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = gin_files.shipped_root() / "models" / "t5_base.gin"
    assert gin_files.find("gin/models/t5_base.gin") == expected
    assert gin_files.find("models/t5_base.gin") == expected
    assert "gin/models/t5_base.gin" in gin_files.shipped()


def test_the_working_directory_then_the_search_paths_come_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    theirs = tmp_path / "mine" / "models" / "t5_base.gin"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("A = 1\n")
    assert gin_files.find("models/t5_base.gin", ["mine"]) == theirs
    own = tmp_path / "models" / "t5_base.gin"
    own.parent.mkdir()
    own.write_text("A = 2\n")
    assert gin_files.find("models/t5_base.gin", ["mine"]) == own
    assert gin_files.find(str(theirs)) == theirs


def test_a_missing_file_names_the_nearest_and_the_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.gin").write_text("")
    with pytest.raises(UserError, match=r"'mime.gin'. Did you mean 'mine.gin'") as error:
        gin_files.find("mime.gin", ["else/where"])
    assert str(tmp_path) in str(error.value)
    assert "else/where" in str(error.value)
