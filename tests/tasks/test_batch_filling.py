"""Which task each row of a batch comes from."""

import itertools

import numpy as np
import pytest
import seqio
import tensorflow as tf

from mpt_jax.errors import UserError
from mpt_jax.tasks.batch_filling import EqualMixture, GroupedMixture, TaskSampledMixture


def sampled(rates, **settings):
    """Task sampling over as many tasks as there are rates."""
    tasks = [(numbered_task(i), rate) for i, rate in enumerate(rates)]
    return TaskSampledMixture("numbered", tasks, **settings)


def draws(steps, rates, **settings):
    """Choices [steps, B]."""
    mixture = sampled(rates, **settings)
    choose = tf.data.Dataset.range(steps).map(lambda step: mixture.choices(step, rates, None))
    return np.stack(list(choose.as_numpy_iterator()))


def test_the_number_of_tasks_is_uniform_between_the_ends():
    steps, tasks, low = 1200, 5, 2
    # 100 equally likely examples leave one of at most 5 tasks out with chance 5 * 0.8**100.
    choices = draws(steps, [1.0] * tasks, seed=0, batch_size=100, min_tasks=low)
    counts = np.bincount([len(set(row)) for row in choices], minlength=tasks + 1)
    assert counts[:low].sum() == 0
    expected = steps / (tasks - low + 1)
    np.testing.assert_allclose(counts[low:], expected, atol=4 * np.sqrt(expected))


def test_long_run_shares_follow_the_rates():
    rates, low = np.array([1.0, 2.0, 6.0]), 2
    shares = draws(2000, rates.tolist(), seed=1, batch_size=20, min_tasks=low)
    expected = np.zeros(3)
    for count in (2, 3):  # K uniform, then each set of K tasks equally likely, then by rate
        sets = list(itertools.combinations(range(3), count))
        for chosen in map(list, sets):
            expected[chosen] += rates[chosen] / rates[chosen].sum() / len(sets) / 2
    np.testing.assert_allclose(np.bincount(shares.ravel()) / shares.size, expected, atol=0.02)


def test_choices_depend_on_seed_and_step_alone():
    rates = [1.0] * 4

    def at(own, step, seed):
        mixture = sampled(rates, batch_size=40, min_tasks=2, seed=own)
        return mixture.choices(step, rates, seed).numpy().tolist()

    assert at(0, 5, 7) == at(0, 5, 8) == at(None, 5, 0)
    assert at(0, 5, 7) != at(0, 6, 7)
    assert at(0, 5, 7) != at(1, 5, 7)


def numbered_task(number):
    """A task whose every row is its number."""
    rows = seqio.FunctionDataSource(
        lambda split, shuffle_files, seed=None: tf.data.Dataset.from_tensors(
            {"targets": [number]}
        ).repeat(64),
        splits=("train",),
        num_input_examples={"train": 64},
    )
    feature = seqio.Feature(seqio.PassThroughVocabulary(8), add_eos=False, dtype=tf.int32)
    return seqio.Task(f"numbered_{number}", rows, {"targets": feature}, [])


def read(mixture, shards, size, batches):
    """The numbers [batches, size] that `shards` processes read, put together."""
    parts = []
    for index in range(shards):
        dataset = mixture.get_dataset(
            None, shard_info=seqio.ShardInfo(index, shards), shuffle=False, num_epochs=None, seed=9
        )
        numbers = dataset.map(lambda row: row["targets"][0]).batch(size // shards).take(batches)
        parts.append(np.stack(list(numbers.as_numpy_iterator())))
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("min_tasks", [1, 2, 9])
@pytest.mark.parametrize("shards", [1, 2])
def test_the_shards_of_a_batch_make_up_its_choices(min_tasks, shards):
    rates, settings = [1.0, 1.0, 3.0], {"batch_size": 6, "min_tasks": min_tasks, "seed": 4}
    expected = draws(10, rates, **settings)
    np.testing.assert_array_equal(read(sampled(rates, **settings), shards, 6, 10), expected)


@pytest.mark.parametrize("shards", [1, 2])
def test_equal_mixing_gives_each_task_the_same_rows_of_every_batch(shards):
    tasks = [(numbered_task(i), rate) for i, rate in enumerate([1.0, 50.0, 3.0])]
    rows = read(EqualMixture("numbered", tasks, batch_size=6), shards, 6, 5)
    np.testing.assert_array_equal(np.sort(rows, axis=1), [[0, 0, 1, 1, 2, 2]] * 5)


def test_equal_mixing_is_equal_in_the_end_where_the_batch_does_not_divide():
    tasks = [(numbered_task(i), 1.0) for i in range(3)]
    rows = read(EqualMixture("numbered", tasks, batch_size=4), 1, 4, 6)
    assert np.bincount(rows.ravel()).tolist() == [8, 8, 8]
    assert EqualMixture("numbered", tasks, batch_size=4).of(tasks[:2]).batch_size == 4


GROUPS = [(1, ["numbered_0"]), (3, ["numbered_1", "numbered_2"])]


def grouped(rates, groups=GROUPS, size=8):
    tasks = [(numbered_task(i), rate) for i, rate in enumerate(rates)]
    return GroupedMixture("numbered", tasks, batch_size=size, groups=groups)


def test_a_batch_is_of_one_group_drawn_by_its_share_and_filled_by_rate():
    mixture, rates = grouped([1.0, 1.0, 4.0]), [1.0, 1.0, 4.0]
    rows = np.stack([mixture.choices(tf.constant(step), rates, 3) for step in range(400)])
    alone = (rows == 0).any(axis=1)
    assert (rows[alone] == 0).all() and not (rows[~alone] == 0).any()
    np.testing.assert_allclose(alone.mean(), 1 / 4, atol=4 * np.sqrt(3 / 16 / 400))
    np.testing.assert_allclose((rows[~alone] == 2).mean(), 4 / 5, atol=0.05)


@pytest.mark.parametrize("shards", [1, 2])
def test_the_shards_of_a_batch_are_of_one_group(shards):
    rates = [1.0, 1.0, 4.0]
    mixture = grouped(rates)
    expected = np.stack([mixture.choices(tf.constant(i), rates, 9) for i in range(6)])
    np.testing.assert_array_equal(read(mixture, shards, 8, 6), expected)


def test_groups_keep_the_tasks_that_are_there():
    mixture = grouped([1.0, 1.0, 4.0])
    part = mixture.of([(numbered_task(2), 1.0)])
    assert part.choices(tf.constant(0), [1.0], 0).numpy().tolist() == [0] * 8


@pytest.mark.parametrize(
    "groups, message",
    [
        ([(1, ["numbered_0"])], "'numbered_1' is in 0 groups"),
        ([(1, ["numbered_0", "numbered_1"]), (1, ["numbered_1"])], "'numbered_1' is in 2 groups"),
        ([(1, ["numbered_0", "numbered_1", "other"])], "'other' is none of the tasks"),
        ([(0, ["numbered_0", "numbered_1"])], "share 0 is not above 0"),
    ],
)
def test_every_task_is_in_one_group(groups, message):
    with pytest.raises(UserError, match=message):
        grouped([1.0, 1.0], groups)


@pytest.mark.parametrize("name, bad", [("batch_size", 0), ("batch_size", "8"), ("min_tasks", 0)])
def test_empty_batches_and_no_tasks_are_refused(name, bad):
    settings = {"batch_size": 8, "min_tasks": 2, "seed": 0, name: bad}
    with pytest.raises(UserError, match=f"{name}.*at least 1; got {bad!r}"):
        sampled([1.0], **settings)
