"""What is said of data, caches and vocabularies that are not there."""

import data_kinds
import pytest
import seqio

from mpt_jax import cli
from mpt_jax.configuration import config, early
from mpt_jax.engine.data.feature_converter import TaskIdFeatureConverter
from mpt_jax.engine.data.pipeline import DatasetConfig, load_mixture, train_batches
from mpt_jax.errors import UserError
from mpt_jax.tasks import epochs
from mpt_jax.tasks.mixtures import bind_tasks

ALL = seqio.ShardInfo(0, 1)


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    yield
    seqio.set_global_cache_dirs([])


def settings(name, **changes):
    return DatasetConfig(name, data_kinds.LENGTHS, "train", 4, True, 0, **changes)


def refusal(name, **changes):
    with pytest.raises(UserError) as error:
        load_mixture(settings(name, **changes))
    return str(error.value)


def test_a_task_without_a_cache_names_the_folders_looked_in(tmp_path):
    name = data_kinds.add("bare", data_kinds.function_source("bare"))
    assert "'bare' has no cache: looked in no folder" in refusal(name, use_cached=True)
    seqio.add_global_cache_dirs([str(tmp_path)])
    said = refusal(name, use_cached=True)
    assert f"looked in {tmp_path}/bare" in said and "--seqio_additional_cache_dirs=FOLDER" in said


def test_a_task_that_is_read_from_its_cache_alone_says_so(monkeypatch):
    monkeypatch.setattr(data_kinds, "CACHE", seqio.CacheDatasetPlaceholder(required=True))
    name = data_kinds.add("only", data_kinds.function_source("only"))
    assert "'only' is read only from its cache: set" in refusal(name)


def test_cached_rows_are_counted_and_drawn_in_the_cache():
    name = data_kinds.add_cached()
    few = bind_tasks(name).tasks[0]
    assert few.num_input_examples("train", use_cached=True) == 8
    batches = train_batches(settings(name, use_cached=True), TaskIdFeatureConverter, shard=ALL)
    text = data_kinds.BYTES.vocabulary.decode
    rows = [text(row.tolist()) for _ in range(2) for row in next(batches)["encoder_input_tokens"]]
    assert sorted(rows) == data_kinds.texts("cached") != rows


def test_absent_tfds_data_name_the_folder_and_the_command(tmp_path):
    source = seqio.TfdsDataSource("glue/rte:2.0.0", str(tmp_path), splits=["train"])
    data_kinds.add("stored", source)
    said = refusal("stored")
    assert "Task 'stored': cannot read its data in TFDS, glue/rte:2.0.0 in" in said
    assert str(tmp_path) in said and "download_and_prepare()" in said
    with pytest.raises(UserError, match="'stored': cannot read its data"):
        epochs.steps("stored", epochs=1, batch_size=4)
    whole = seqio.TfdsDataSource("glue/rte:2.0.0", str(tmp_path))
    assert "'every': cannot read its data in TFDS" in refusal(data_kinds.add("every", whole))


def test_missing_and_damaged_records_name_their_place(tmp_path):
    pattern = f"{tmp_path}/*.tfrecord"
    for sizes in ({"train": 5}, None):
        source = seqio.TFExampleDataSource({"train": pattern}, {}, num_input_examples=sizes)
        data_kinds.add("records", source)
        with pytest.raises(UserError, match=r"'records': cannot read its data in .*\*\.tfrecord"):
            train_batches(settings("records"), TaskIdFeatureConverter, shard=ALL)
        seqio.TaskRegistry.remove("records")
    (tmp_path / "0.tfrecord").write_bytes(b"this is not a TensorFlow record")
    data_kinds.add("records", seqio.TFExampleDataSource({"train": pattern}, {}))
    assert "'records': cannot read its data in" in refusal("records")


def test_an_unreachable_vocabulary_names_its_file(tmp_path):
    vocabulary = seqio.SentencePieceVocabulary(f"{tmp_path}/gone.model")
    data_kinds.add("mute", data_kinds.function_source("mute"), feature=seqio.Feature(vocabulary))
    with pytest.raises(
        UserError, match=rf"'mute': .*vocabulary of its inputs, {tmp_path}/gone.mod"
    ):
        bind_tasks("mute")


def test_the_command_takes_folders_of_caches(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(config, "check", lambda *_: None)
    monkeypatch.setattr(early, "check", lambda *_: None)
    monkeypatch.setattr(config, "parse", lambda *_, **__: None)
    monkeypatch.setattr(config, "call", lambda *_: found.extend(seqio.get_global_cache_dirs()))
    for command, file in (("train", "mpt_source"), ("eval", "mpt_eval")):
        cli.run(
            [command, f"--gin_file=gin/{file}.gin", f"--seqio_additional_cache_dirs={tmp_path},b"]
        )
        assert found == [str(tmp_path), "b"]
        found.clear()
