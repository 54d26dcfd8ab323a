"""Mixtures whose batches are filled as a whole: by task sampling, in equal parts, or by groups.

SeqIO shuffles each task before it mixes and nothing after, and the feature converter keeps every
example, so that a block of `batch_size` choices is one batch.
"""

import abc
import collections
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from mpt_jax.errors import UserError


class FilledMixture(seqio.Mixture, abc.ABC):
    """A mixture that chooses the task of each example of a batch at once.

    Each of several processes reads its part of the one global batch that is chosen for a step.

    Args:
      name: of the mixture.
      tasks: (task, rate) pairs.
      batch_size: examples of a global batch.

    Attributes:
      batch_size: as given.

    Raises:
      UserError: `batch_size` is below 1.
    """

    def __init__(self, name: str, tasks: Sequence[tuple[seqio.Task, Any]], *, batch_size: int):
        _check_count("batch_size", batch_size)
        super().__init__(name, tasks)
        self.batch_size = batch_size
        self._rated_tasks = tasks

    @abc.abstractmethod
    def choices(self, step: tf.Tensor, rates: Sequence[float], seed: int | None) -> tf.Tensor:
        """Task of each example of batch number `step`: [B] int64, a function of the arguments."""

    @abc.abstractmethod
    def of(self, tasks: Sequence[tuple[seqio.Task, Any]]) -> "FilledMixture":
        """The same with other (task, rate) pairs."""

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
        seed: int | None,
        *,
        shard: seqio.ShardInfo,
    ) -> tf.data.Dataset:
        def own_choices(step: tf.Tensor) -> tf.Tensor:
            return tf.split(self.choices(step, rates, seed), shard.num_shards)[shard.index]

        choices = tf.data.Dataset.counter().map(own_choices).unbatch()
        return tf.data.Dataset.choose_from_datasets(datasets, choices, stop_on_empty_dataset=True)


class TaskSampledMixture(FilledMixture):
    """The paper's stochastic task sampling (Wang et al. 2023, section 3.2).

    A number K is drawn uniformly from [min_tasks, tasks], then K tasks uniformly, then B examples
    among these in proportion to their rates.

    Args:
      name, tasks, batch_size: as `FilledMixture`.
      min_tasks: lower end of the uniform draw; more than there are tasks means all of them.
      seed: seed of the draws, next to the seed with which SeqIO shuffles; None: that one.

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
        _check_count("min_tasks_per_batch", min_tasks)
        super().__init__(name, tasks, batch_size=batch_size)
        self._settings = {"batch_size": batch_size, "min_tasks": min_tasks, "seed": seed}

    def choices(self, step: tf.Tensor, rates: Sequence[float], seed: int | None) -> tf.Tensor:
        """See the base class; a seed of the mixture's own comes before the given one."""
        own, low = self._settings["seed"], min(self._settings["min_tasks"], len(rates))
        key = tf.random.experimental.stateless_fold_in(
            [seed if own is None else own, 0], tf.cast(step, tf.int64)
        )
        count_key, subset_key, fill_key = tf.unstack(tf.random.split(key, 3))
        count = tf.random.stateless_uniform(
            [], count_key, minval=low, maxval=len(rates) + 1, dtype=tf.int32
        )
        rank = tf.argsort(tf.argsort(tf.random.stateless_uniform([len(rates)], subset_key)))
        log_rates = tf.math.log(tf.constant(rates, tf.float32))
        logits = tf.where(rank < count, log_rates, float("-inf"))
        return tf.random.stateless_categorical(logits[None], self.batch_size, fill_key)[0]

    def of(self, tasks: Sequence[tuple[seqio.Task, Any]]) -> "TaskSampledMixture":
        """See the base class."""
        return TaskSampledMixture(self.name, tasks, **self._settings)


class EqualMixture(FilledMixture):
    """A mixture in which the tasks take turns, whatever their rates: B/K examples of each.

    For K independent runs in one program, each of which gets batches of B/K.
    """

    def choices(self, step: tf.Tensor, rates: Sequence[float], seed: int | None) -> tf.Tensor:
        """See the base class; where K does not divide B, the next batch goes on."""
        first = tf.cast(step, tf.int64) * self.batch_size
        return (first + tf.range(self.batch_size, dtype=tf.int64)) % len(rates)

    def of(self, tasks: Sequence[tuple[seqio.Task, Any]]) -> "EqualMixture":
        """See the base class."""
        return EqualMixture(self.name, tasks, batch_size=self.batch_size)


class GroupedMixture(FilledMixture):
    """Each batch is of the tasks of one group, so that texts of like length are padded together.

    A group is drawn by its share, then each example among its tasks in proportion to their rates.

    Args:
      name, tasks, batch_size: as `FilledMixture`.
      groups: (share, names of its tasks) of each; shares are relative.

    Raises:
      UserError: a batch size below 1, a share that is not above 0, a task that is in no group or
        in two, a name that is no task.
    """

    def __init__(
        self,
        name: str,
        tasks: Sequence[tuple[seqio.Task, Any]],
        *,
        batch_size: int,
        groups: Sequence[tuple[float, Sequence[str]]],
    ):
        super().__init__(name, tasks, batch_size=batch_size)
        _check_groups(groups, [task.name for task, _ in tasks])
        self._groups = groups

    def choices(self, step: tf.Tensor, rates: Sequence[float], seed: int | None) -> tf.Tensor:
        """See the base class."""
        key = tf.random.experimental.stateless_fold_in([seed or 0, 0], tf.cast(step, tf.int64))
        group_key, fill_key = tf.unstack(tf.random.split(key, 2))
        shares = tf.math.log([[float(share) for share, _ in self._groups]])
        drawn = tf.random.stateless_categorical(shares, 1, group_key)[0, 0]
        names = [task.name for task, _ in self._rated_tasks]
        members = tf.constant([[name in group for name in names] for _, group in self._groups])
        logits = tf.where(members[drawn], tf.math.log(tf.constant(rates, tf.float32)), -np.inf)
        return tf.random.stateless_categorical(logits[None], self.batch_size, fill_key)[0]

    def of(self, tasks: Sequence[tuple[seqio.Task, Any]]) -> "GroupedMixture":
        """See the base class; a group without any task is left out."""
        kept = {task.name for task, _ in tasks}
        groups = [(share, [n for n in group if n in kept]) for share, group in self._groups]
        groups = [(share, group) for share, group in groups if group]
        return GroupedMixture(self.name, tasks, batch_size=self.batch_size, groups=groups)


def _check_groups(groups: Sequence[tuple[float, Sequence[str]]], tasks: Sequence[str]) -> None:
    for share, _ in groups:
        if not share > 0:
            raise UserError(f"mixtures.bind_tasks.groups: the share {share!r} is not above 0.")
    grouped = collections.Counter(name for _, group in groups for name in group)
    for name in (*tasks, *grouped):
        if grouped[name] != 1 or name not in tasks:
            wrong = f"in {grouped[name]} groups" if name in tasks else "none of the tasks"
            raise UserError(
                f"mixtures.bind_tasks.groups: {name!r} is {wrong}; name each task of the run once."
            )


def _check_count(name: str, value: Any) -> None:
    if not (isinstance(value, int) and value >= 1):
        raise UserError(
            f"mixtures.bind_tasks.{name} must be a whole number of at least 1; got {value!r}."
        )
