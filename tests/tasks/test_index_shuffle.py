import collections

import numpy as np
import pytest
import seqio
import tensorflow as tf

from mpt_jax.tasks.index_shuffle import seed_of_pass, shuffled_rows


def endless(count, seed, row=tf.identity):
    """Pass after pass, as a `BoundTask` reads them."""
    return tf.data.Dataset.counter().flat_map(
        lambda number: shuffled_rows(count, row, seed_of_pass(seed, number))
    )


def order(count, seed, **shard):
    return list(shuffled_rows(count, tf.identity, seed, **shard).as_numpy_iterator())


def passes(count, seed, number):
    indices = list(endless(count, seed).take(number * count).as_numpy_iterator())
    return [indices[i * count : (i + 1) * count] for i in range(number)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 1000])
def test_an_order_holds_each_index_once(count):
    assert sorted(order(count, seed=3)) == list(range(count))


def test_shards_share_an_order():
    shards = [seqio.ShardInfo(index, 3) for index in range(3)]
    parts = [order(10, seed=3, shard=shard) for shard in shards]
    assert [len(part) for part in parts] == [4, 3, 3]
    assert parts == [order(10, seed=3)[index::3] for index in range(3)]


def test_passes_differ_and_a_seed_repeats_them():
    first, second = passes(100, seed=3, number=2)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(100))
    assert passes(100, seed=3, number=2) == [first, second]
    assert passes(100, seed=4, number=1) != [first]
    assert order(100, seed=None) != order(100, seed=None)


def test_all_orders_are_about_equally_likely():
    orders = collections.Counter(tuple(order) for order in passes(3, seed=0, number=600))
    assert len(orders) == 6
    assert all(60 < count < 140 for count in orders.values())  # 100 ± 4 standard deviations


def test_neighbours_and_places_are_not_correlated():
    (order,) = passes(5000, seed=1, number=1)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.05
    assert abs(np.corrcoef(order, np.arange(5000))[0, 1]) < 0.05


def test_a_checkpoint_is_small_and_goes_on_with_the_next_index(tmp_path):
    plain = tf.data.Options()
    plain.experimental_optimization.inject_prefetch = False  # its buffer would be saved too

    def start():
        return iter(endless(100_000, 5).with_options(plain))

    rows = start()
    for _ in range(1000):
        next(rows)
    saved = tf.train.Checkpoint(iterator=rows).save(str(tmp_path / "position"))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 10_000
    following = [int(next(rows)) for _ in range(50)]
    resumed = start()
    tf.train.Checkpoint(iterator=resumed).restore(saved)
    assert [int(next(resumed)) for _ in range(50)] == following
