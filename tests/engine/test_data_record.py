"""A run does not go on with other data than it was started with."""

import dataclasses
import hashlib
import json
import pathlib

import data_kinds
import pytest
import seqio

from mpt_jax.engine.data.pipeline import DatasetConfig
from mpt_jax.engine.records import data_record
from mpt_jax.errors import UserError


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    yield
    seqio.set_global_cache_dirs([])


def settings(name, **changes):
    return DatasetConfig(name, data_kinds.LENGTHS, "train", 4, True, 0, **changes)


def start(folder, cfg, resumed=False):
    """What a run notes of its data; `folder` is its run folder."""
    before = json.loads((folder / "run.json").read_text()) if resumed else None
    facts = data_record.checked([cfg, None], before, str(folder))
    (folder / "run.json").write_text(json.dumps({"data": facts}))
    return facts


def test_a_changed_local_file_is_named(tmp_path):
    cfg = settings(data_kinds.add_local(tmp_path))
    file = tmp_path / "train.jsonl"
    text = file.read_text()
    facts = start(tmp_path, cfg)["files, split train"]
    digest = hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
    assert facts == {"rows": 8, "files": {str(file): f"{len(text)} bytes {digest}"}}
    assert start(tmp_path, cfg, resumed=True)["files, split train"] == facts

    file.write_text(text.replace("loc 03", "loc 93"))  # of the same length
    with pytest.raises(UserError, match=rf"{file} \(task files, split train\) is another file"):
        start(tmp_path, cfg, resumed=True)
    start(tmp_path, cfg)  # without a checkpoint it begins anew
    start(tmp_path, cfg, resumed=True)


@pytest.mark.parametrize("source", [data_kinds.lines_source, data_kinds.tfds_source])
def test_the_files_of_a_seqio_source_are_noted(tmp_path, source):
    cfg = settings(data_kinds.add("some", source(tmp_path), [data_kinds.to_rows]))
    files = start(tmp_path, cfg)["some, split train"]["files"]
    assert files and all(pathlib.Path(path).is_file() for path in files)
    changed = pathlib.Path(min(files))
    changed.write_bytes(changed.read_bytes() + b"\n")
    with pytest.raises(UserError, match=f"{changed} .*is another file"):
        start(tmp_path, cfg, resumed=True)


def test_a_cache_is_noted(tmp_path):
    data_kinds.add_cached()
    facts = start(tmp_path, settings("cached", use_cached=True))["cached, split train"]
    assert facts["rows"] == 8 and len(facts["files"]) == 3


def test_of_a_function_the_number_of_rows_is_known(tmp_path):
    cfg = settings(data_kinds.add("few", data_kinds.function_source("few", 5)))
    assert start(tmp_path, cfg) == {"few, split train": {"rows": 5, "files": {}}}
    seqio.TaskRegistry.reset()
    data_kinds.add("few", data_kinds.function_source("few", 6))
    with pytest.raises(UserError, match="Task few, split train, has 6 rows, and had 5"):
        start(tmp_path, dataclasses.replace(cfg), resumed=True)


def test_of_much_data_the_sizes_alone_are_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(data_record, "_READ_AT_MOST", 10)
    cfg = settings(data_kinds.add("lines", data_kinds.lines_source(tmp_path), [data_kinds.to_rows]))
    files = start(tmp_path, cfg)["lines, split train"]["files"]
    assert files[f"{tmp_path}/0.txt"] == f"{(tmp_path / '0.txt').stat().st_size} bytes"
