"""The paper's stochastic task sampling: each batch draws its number of tasks, its tasks, its rows.

Written as the `sample_fn` of a `seqio.Mixture`. SeqIO shuffles each task before it mixes and
nothing after, and the feature converter keeps every example, so that a block of `batch_size`
choices is one batch.
"""

import functools
from collections.abc import Sequence

import tensorflow as tf

from mpt_jax.errors import UserError


def batch_choices(
    step: tf.Tensor, rates: Sequence[float], seed: int, batch_size: int, min_tasks: int
) -> tf.Tensor:
    """Task of each example of batch number `step`: [B] int64, a pure function of its arguments.

    A number K is drawn uniformly from [min_tasks, len(rates)], then K tasks uniformly, then B
    examples among these in proportion to their rates (Wang et al. 2023, section 3.2).
    """
    num_tasks = len(rates)
    key = tf.random.experimental.stateless_fold_in([seed, 0], tf.cast(step, tf.int64))
    count_key, subset_key, fill_key = tf.unstack(tf.random.split(key, 3))
    count = tf.random.stateless_uniform(
        [], count_key, minval=min_tasks, maxval=num_tasks + 1, dtype=tf.int32
    )
    rank = tf.argsort(tf.argsort(tf.random.stateless_uniform([num_tasks], subset_key)))
    log_rates = tf.math.log(tf.constant(rates, tf.float32))
    logits = tf.where(rank < count, log_rates, float("-inf"))
    return tf.random.stateless_categorical(logits[None], batch_size, fill_key)[0]


def sampler(batch_size: int, min_tasks: int, seed: int):
    """A SeqIO `sample_fn` that fills blocks of `batch_size` examples by `batch_choices`.

    Args:
      batch_size: examples per step that one process draws (global batch / processes). All
        processes draw the same tasks for a step.
      min_tasks: lower end of the uniform draw; more than there are tasks means all of them.
      seed: seed of the draws, next to the seed with which SeqIO shuffles.
    """
    if batch_size < 1 or min_tasks < 1:
        raise UserError(
            f"Task sampling needs batch_size >= 1 and min_tasks_per_batch >= 1; "
            f"got {batch_size} and {min_tasks}."
        )

    def sample(datasets: Sequence[tf.data.Dataset], rates: Sequence[float], data_seed: int | None):
        del data_seed  # shuffles within tasks; which tasks meet in a batch has its own seed
        choose = functools.partial(
            batch_choices,
            rates=rates,
            seed=seed,
            batch_size=batch_size,
            min_tasks=min(min_tasks, len(rates)),
        )
        choices = tf.data.Dataset.counter().map(choose).unbatch()
        return tf.data.Dataset.choose_from_datasets(datasets, choices, stop_on_empty_dataset=True)

    return sample
