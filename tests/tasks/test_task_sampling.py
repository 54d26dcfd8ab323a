import itertools

import numpy as np
import pytest
import seqio
import tensorflow as tf

from mpt_jax.errors import UserError
from mpt_jax.tasks.task_sampling import TaskSampledMixture, batch_choices


def draws(steps, rates, **kwargs):
    """Choices [steps, B]."""
    choose = tf.data.Dataset.range(steps).map(lambda step: batch_choices(step, rates, **kwargs))
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
    def at(seed, step):
        return batch_choices(step, [1.0] * 4, seed, batch_size=40, min_tasks=2).numpy().tolist()

    assert at(0, 5) == at(0, 5)
    assert at(0, 5) != at(0, 6)
    assert at(0, 5) != at(1, 5)


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


@pytest.mark.parametrize("min_tasks", [1, 2, 9])
@pytest.mark.parametrize("shards", [1, 2])
def test_the_shards_of_a_batch_make_up_its_choices(min_tasks, shards):
    rates = [1.0, 1.0, 3.0]
    mixture = TaskSampledMixture(
        "numbered",
        [(numbered_task(i), rate) for i, rate in enumerate(rates)],
        batch_size=6,
        min_tasks=min_tasks,
        seed=4,
    )
    parts = []
    for index in range(shards):
        dataset = mixture.get_dataset(
            None, shard_info=seqio.ShardInfo(index, shards), shuffle=False, num_epochs=None, seed=9
        )
        numbers = dataset.map(lambda row: row["targets"][0]).batch(6 // shards).take(10)
        parts.append(np.stack(list(numbers.as_numpy_iterator())))
    expected = draws(10, rates, seed=4, batch_size=6, min_tasks=min(min_tasks, 3))
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), expected)


@pytest.mark.parametrize("bad", [(0, 2), (8, 0), ("8", 2)])
def test_empty_batches_and_no_tasks_are_refused(bad):
    with pytest.raises(UserError, match=f"got {bad[0]!r} and {bad[1]!r}"):
        batch_size, min_tasks = bad
        tasks = [(numbered_task(0), 1.0)]
        TaskSampledMixture("none", tasks, batch_size=batch_size, min_tasks=min_tasks, seed=0)
