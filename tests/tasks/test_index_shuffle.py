import collections

import numpy as np
import pytest
import tensorflow as tf

from mpt_jax.tasks.index_shuffle import shuffled_rows


def passes(count, seed, number=1):
    indices = list(shuffled_rows(count, tf.identity, seed).repeat(number).as_numpy_iterator())
    return [indices[i * count : (i + 1) * count] for i in range(number)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 1000])
def test_each_pass_holds_each_index_once(count):
    for order in passes(count, seed=3, number=3):
        assert sorted(order) == list(range(count))


def test_passes_differ_and_a_seed_repeats_them():
    first, second = passes(100, seed=3, number=2)
    assert first != second
    assert passes(100, seed=3, number=2) == [first, second]
    assert passes(100, seed=4) != [first]
    assert passes(100, seed=None) != passes(100, seed=None)


def test_all_orders_are_about_equally_likely():
    orders = collections.Counter(tuple(order) for order in passes(3, seed=0, number=600))
    assert len(orders) == 6
    assert all(60 < count < 140 for count in orders.values())  # 100 ± 4 standard deviations


def test_neighbours_and_places_are_not_correlated():
    (order,) = passes(5000, seed=1)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.05
    assert abs(np.corrcoef(order, np.arange(5000))[0, 1]) < 0.05


def test_a_checkpoint_is_small_and_goes_on_with_the_next_index(tmp_path):
    plain = tf.data.Options()
    plain.experimental_optimization.inject_prefetch = False  # its buffer would be saved too

    def start():
        return iter(shuffled_rows(100_000, tf.identity, 5).repeat().with_options(plain))

    rows = start()
    for _ in range(1000):
        next(rows)
    saved = tf.train.Checkpoint(iterator=rows).save(str(tmp_path / "position"))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 10_000
    following = [int(next(rows)) for _ in range(50)]
    resumed = start()
    tf.train.Checkpoint(iterator=resumed).restore(saved)
    assert [int(next(resumed)) for _ in range(50)] == following


def test_it_resumes_exactly_at_every_place_under_maps_that_run_ahead(tmp_path):
    count = 6

    def row(index):
        return tf.strings.to_number(tf.strings.as_string(index), tf.int64)

    def start():
        return iter(shuffled_rows(count, row, seed=0).repeat().map(row, tf.data.AUTOTUNE))

    rows = start()
    for place in range(4 * count):
        saved = tf.train.Checkpoint(iterator=rows).write(str(tmp_path / str(place)))
        ahead = start()
        tf.train.Checkpoint(iterator=ahead).read(saved)
        expected = [int(next(rows)) for _ in range(2 * count + 1)]
        assert [int(next(ahead)) for _ in range(2 * count + 1)] == expected, place
        rows = start()
        for _ in range(place + 1):
            next(rows)
