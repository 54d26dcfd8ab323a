import pytest
import seqio
import tensorflow as tf

from mpt_jax.tasks.index_shuffle import seed_of_pass
from mpt_jax.tasks.local.form import Example
from mpt_jax.tasks.local.source import LocalSource
from mpt_jax.tasks.row_source import RowSource

SPLITS = {
    "train": [Example(f"row {i}", (str(i),)) for i in range(50)],
    "validation": [Example("one", ("a", "b")), Example("two", ("c",))],
}


@pytest.fixture(name="reads")
def _reads():
    return []


@pytest.fixture(name="source")
def _source(reads):
    def read(split):
        reads.append(split)
        return SPLITS

    return LocalSource(("train", "validation"), read, references=True)


def texts(dataset):
    return [row["inputs"].decode() for row in dataset.as_numpy_iterator()]


def test_rows_are_read_once_and_when_used(source, reads):
    assert source.splits == ("train", "validation")
    assert reads == []
    assert source.num_input_examples("validation") == 2
    assert source.num_input_examples("train") == 50
    source.get_dataset("train")
    assert reads == ["validation"]


def test_unshuffled_rows_come_in_order_with_all_their_answers(source):
    rows = list(source.get_dataset("validation", shuffle=False).as_numpy_iterator())
    assert [(row["inputs"], row["targets"], list(row["references"])) for row in rows] == [
        (b"one", b"a", [b"a", b"b"]),
        (b"two", b"c", [b"c"]),
    ]
    assert (
        "references"
        not in LocalSource((), lambda _: SPLITS, references=False).get_dataset("train").element_spec
    )


def passes(source, seed):
    """Pass after pass over the train split, as a `BoundTask` reads them."""
    return tf.data.Dataset.counter().flat_map(
        lambda number: source.get_dataset("train", True, seed_of_pass(seed, number))
    )


def test_every_pass_is_shuffled_as_a_whole_in_an_order_of_its_own(source):
    expected = [row.inputs for row in SPLITS["train"]]
    found = texts(passes(source, 3).take(100))
    first, second = found[:50], found[50:]
    assert sorted(first) == sorted(second) == sorted(expected)
    assert first != second and first != expected
    assert texts(passes(source, 3).take(100)) == found
    # A label that fills the first half of the file is spread over the whole pass.
    assert 5 < sum(text in expected[:25] for text in first[:25]) < 20


def test_processes_share_the_rows(source):
    shards = [seqio.ShardInfo(index, 3) for index in range(3)]
    parts = [texts(source.get_dataset("train", seed=0, shard_info=shard)) for shard in shards]
    assert [len(part) for part in parts] == [17, 17, 16]
    assert sorted(sum(parts, [])) == sorted(row.inputs for row in SPLITS["train"])


@pytest.mark.parametrize("small", [True, False])
def test_a_checkpoint_goes_on_with_the_next_row(small, source, tmp_path, monkeypatch):
    if not small:
        monkeypatch.setattr("mpt_jax.tasks.row_source.MEMORY_ROWS", 10)

    def start():
        return iter(passes(RowSource(source), 5))

    whole = [next(rows)["inputs"].numpy() for rows in [start()] for _ in range(80)]
    rows = start()
    for _ in range(30):
        next(rows)
    saved = tf.train.Checkpoint(iterator=rows).save(str(tmp_path / "position"))
    resumed = start()
    tf.train.Checkpoint(iterator=resumed).restore(saved)
    assert [next(resumed)["inputs"].numpy() for _ in range(50)] == whole[30:]
