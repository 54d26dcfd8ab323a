import numpy as np
import pytest
import seqio
import tensorflow as tf

from mpt_jax.errors import UserError
from mpt_jax.tasks import row_source
from mpt_jax.tasks.index_shuffle import seed_of_pass
from mpt_jax.tasks.row_source import RowSource


def numbers(n, *, known=True, generator=False):
    """A source whose train rows are 0..n-1 and whose validation rows are 100..104."""

    def dataset_fn(split, shuffle_files=False, seed=None):
        rows = range(n) if split == "train" else range(100, 105)
        if generator:
            return tf.data.Dataset.from_generator(
                lambda: iter(rows), output_signature=tf.TensorSpec([], tf.int64)
            )
        return tf.data.Dataset.from_tensor_slices(np.array(rows, np.int64))

    sizes = {"train": n, "validation": 5} if known else None
    return seqio.FunctionDataSource(dataset_fn, ["train", "validation"], num_input_examples=sizes)


def values(dataset):
    return [int(row) for row in dataset.as_numpy_iterator()]


def passes(source, seed=0):
    """Pass after pass over the train split, as a `BoundTask` reads them."""
    return tf.data.Dataset.counter().flat_map(
        lambda number: source.get_dataset("train", True, seed_of_pass(seed, number))
    )


def test_each_pass_holds_each_row_once_in_an_order_of_its_own():
    found = np.reshape(values(passes(RowSource(numbers(7)), 3).take(4 * 7)), (4, 7))
    np.testing.assert_array_equal(np.sort(found), np.tile(np.arange(7), (4, 1)))
    assert len({tuple(one) for one in found}) == 4


def test_the_seed_fixes_the_order():
    def order(seed):
        return values(RowSource(numbers(50)).get_dataset("train", shuffle=True, seed=seed))

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_few_shot_keeps_numpys_draw_of_train_alone():
    source = RowSource(numbers(50), few_shot=8, seed=7)
    expected = np.random.default_rng(7).choice(50, size=8, replace=False)
    assert values(source.get_dataset("train", shuffle=False)) == sorted(expected)
    assert values(source.get_dataset("validation", shuffle=False)) == list(range(100, 105))
    assert source.num_input_examples("train") == 8
    assert source.num_input_examples("validation") == 5


@pytest.mark.parametrize("k", [0, 51])
def test_few_shot_outside_of_the_split_is_refused(k):
    with pytest.raises(UserError, match=f"few_shot = {k} .* 50 rows"):
        RowSource(numbers(50), few_shot=k)


def test_rows_are_counted_where_the_source_does_not_know():
    assert RowSource(numbers(50, known=False)).num_input_examples("train") == 50


def test_rows_of_any_structure_come_back_unchanged():
    rows = {"text": ["a", "bb"], "answers": tf.ragged.constant([["x"], ["y", "z"]])}

    def dataset_fn(split, shuffle_files=False, seed=None):
        return tf.data.Dataset.from_tensor_slices(rows)

    source = RowSource(seqio.FunctionDataSource(dataset_fn, ["train"]))
    first, second = source.get_dataset("train", shuffle=False)
    assert first["text"].numpy() == b"a"
    assert second["answers"].numpy().tolist() == [b"y", b"z"]


@pytest.mark.parametrize("position", [0, 5, 6, 8])  # epochs have 6 rows
def test_an_iterator_resumes_with_the_next_row_even_over_a_generator(tmp_path, position):
    def start():
        source = RowSource(numbers(9, generator=True), few_shot=6)
        return iter(passes(source))

    iterator = start()
    for _ in range(position):
        next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "at"))
    expected = [int(next(iterator)) for _ in range(20)]

    resumed = start()
    tf.train.Checkpoint(iterator=resumed).read(path)
    assert [int(next(resumed)) for _ in range(20)] == expected


def test_a_large_split_is_the_sources_own(monkeypatch):
    monkeypatch.setattr(row_source, "MEMORY_ROWS", 5)
    source = numbers(6)
    wrapped = RowSource(source)
    assert values(wrapped.get_dataset("train", shuffle=True, seed=0)) == list(range(6))
    assert values(wrapped.get_dataset("train", shard_info=seqio.ShardInfo(1, 2))) == [1, 3, 5]


def test_the_files_of_a_large_split_come_in_an_order_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setattr(row_source, "MEMORY_ROWS", 5)
    for part in range(4):
        (tmp_path / f"{part}.txt").write_text("".join(f"{10 * part + i}\n" for i in range(3)))
    files = seqio.TextLineDataSource(
        {"train": f"{tmp_path}/*.txt"}, num_input_examples={"train": 12}, block_length=3
    )
    found = np.reshape(values(passes(RowSource(files)).take(5 * 12)), (5, 4, 3))
    assert (found // 10 == found[..., :1] // 10).all()  # the rows of a file stay together
    orders = {tuple(one[:, 0] // 10) for one in found}
    assert len(orders) > 2 and all(sorted(order) == [0, 1, 2, 3] for order in orders)


def test_every_row_is_as_likely_at_every_place():
    rows, epochs = 8, 400
    dataset = passes(RowSource(numbers(rows))).take(rows * epochs)
    orders = np.reshape(values(dataset), (epochs, rows))
    counts = np.stack([np.bincount(place, minlength=rows) for place in orders.T])
    np.testing.assert_allclose(counts, epochs / rows, atol=5 * np.sqrt(epochs / rows))
