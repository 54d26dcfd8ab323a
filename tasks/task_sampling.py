"""The paper's stochastic task sampling: each batch draws its number of tasks, its tasks, its rows.

SeqIO shuffles each task before it mixes and
nothing after, and the feature converter keeps every example, so that a block of `batch_size`
choices is one batch.
"""

import functools
from collections.abc import Sequence
from typing import Any

import seqio
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


class TaskSampledMixture(seqio.Mixture):
    """A mixture whose batches are filled by `batch_choices`.

    Each of several processes reads its part of the one global batch that is drawn for a step.

    Args:
      name: of the mixture.
      tasks: (task, rate) pairs.
      batch_size: examples of a global batch.
      min_tasks: lower end of the uniform draw; more than there are tasks means all of them.
      seed: seed of the draws, next to the seed with which SeqIO shuffles; None: that one.

    Attributes:
      batch_size: as given.

    Raises:
      UserError: a size or number below 1.
    """

    def __init__(
        self,
        name: str,
        tasks: Sequence[tuple[seqio.Task, Any]],
        *,
        batch_size: int,
        min_tasks: int,
        seed: int | None,
    ):
        if not all(isinstance(n, int) and n >= 1 for n in (batch_size, min_tasks)):
            raise UserError(
                f"Task sampling needs batch_size >= 1 and min_tasks_per_batch >= 1; "
                f"got {batch_size!r} and {min_tasks!r}."
            )
        super().__init__(name, tasks)
        self.batch_size = batch_size
        self._rated_tasks = tasks
        self._settings = {"batch_size": batch_size, "min_tasks": min_tasks, "seed": seed}

    def of(self, tasks: Sequence[tuple[seqio.Task, Any]]) -> "TaskSampledMixture":
        """The same with other (task, rate) pairs."""
        return TaskSampledMixture(self.name, tasks, **self._settings)

    def get_dataset(
        self, *args: Any, shard_info: seqio.ShardInfo | None = None, **kwargs: Any
    ) -> tf.data.Dataset:
        """As `seqio.Mixture.get_dataset`: the examples of this shard's rows of each batch."""
        sample_fn = functools.partial(self._sample, shard=shard_info or seqio.ShardInfo(0, 1))
        mixture = seqio.Mixture(self.name, self._rated_tasks, sample_fn=sample_fn)
        return mixture.get_dataset(*args, shard_info=shard_info, **kwargs)

    def _sample(
        self,
        datasets: Sequence[tf.data.Dataset],
        rates: Sequence[float],
        data_seed: int | None,
        *,
        shard: seqio.ShardInfo,
    ) -> tf.data.Dataset:
        settings = dict(self._settings)
        if settings["seed"] is None:
            settings["seed"] = data_seed
        settings["min_tasks"] = min(settings["min_tasks"], len(rates))

        def own_choices(step: tf.Tensor) -> tf.Tensor:
            choices = batch_choices(step, rates, **settings)
            return tf.split(choices, shard.num_shards)[shard.index]

        choices = tf.data.Dataset.counter().map(own_choices).unbatch()
        return tf.data.Dataset.choose_from_datasets(datasets, choices, stop_on_empty_dataset=True)
