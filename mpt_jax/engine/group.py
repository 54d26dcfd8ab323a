"""Runs that take their steps with one program, over one frozen backbone.

The runs of a group are divided into parts of like size, which take the step one after another. That
of a part is the step of a run mapped over a leading axis of runs, on which their states, batches,
keys and rates are stacked. The frozen weights have no such axis, so the compiler multiplies the
rows of all runs of the part with them at once. Evaluations are answered likewise. Nothing else is
shared: each run has its own moments, clipping, dropout, schedule by its own step, and keeps its own
state where its own loss is not finite.

On a CPU each run is a part of its own. Its step fills the cores, and what is computed for several
at once falls out of their caches (benchmarks/results.md).
"""

import abc
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mpt_jax.engine import group_size, kept, run_axis, sharing
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.data.length_buckets import Batch
from mpt_jax.engine.evaluation import answering
from mpt_jax.engine.evaluation.answering import Answers, Asked
from mpt_jax.engine.run import Run


class Group:
    """The programs and the state of runs that go on together.

    Args:
        runs: started, and able to share (`sharing.Sharing`).
        size: runs of a part; None: as is best for the devices, `group_size.best`.
    """

    def __init__(self, runs: Sequence[Run], size: int | None = None):
        size = group_size.best(runs) if size is None else size
        first, mesh = runs[0], runs[0].settings.partitioner
        step = kept.once(
            "train step",
            lambda: None if size > 1 else sharing.program(first),
            lambda: step_lib.make_train_step(
                first.model,
                first.optimizer,
                mesh,
                num_microbatches=first.settings.trainer.num_microbatches,
                **run_axis.options(mesh, first.frozen, size),
            ),
        )
        self._mapped: list[_Mapped] = []
        if size > 1:
            starts = range(0, len(runs), size)
            self._mapped = [_Mapped(runs[start : start + size], step, size) for start in starts]
        ones = [] if size > 1 else runs
        self._parts: list[_Part] = [
            *self._mapped,
            *(_One(run, step, is_alone=len(runs) == 1) for run in ones),
        ]
        self._at_once: answering.AtOnce | None = None  # the first evaluation plans it for all
        self._is_first = True

    def take_step(self, batches: Mapping[Run, Batch]) -> None:
        """The next step of the runs that are given a batch; their metrics stay on the device."""
        for part in self._parts:
            part.take_step({run: batches[run] for run in part.runs if run in batches})
        if self._is_first and batches:
            self._is_first = False
            jax.block_until_ready([part.metrics() for part in self._parts])
            for run in batches:
                run.begun()

    def hand_out_metrics(self) -> None:
        """Fetch, all at once, the metrics of the steps since the last time, for the runs."""
        fetched = jax.device_get([part.metrics() for part in self._parts])
        for part, of_part in zip(self._parts, fetched, strict=True):
            for metrics, (_, taken) in zip(of_part, part.waiting, strict=True):
                for index, run in enumerate(part.runs):
                    if run in taken:
                        run.window.add(taken[run][0], part.of(index, metrics), taken[run][1])
            part.waiting = []

    def answers(self, runs: Sequence[Run]) -> dict[Run, Answers]:
        """What the runs answer in their evaluation, with their state now.

        Of those that take their step at once; the others evaluate alone.
        """
        found: dict[Run, Answers] = {}
        for part in self._mapped:
            asked = {place: run.asked for place, run in enumerate(part.runs) if run in runs}
            if not asked:
                continue
            params = part.params()
            if self._at_once is None:
                self._at_once = self._planned(params, list(asked.values()))
            answers = self._at_once.answers(params, asked)
            found |= {part.runs[place]: of_run for place, of_run in answers.items()}
        return found

    def _planned(self, params: step_lib.Params, asked: Sequence[Asked]) -> answering.AtOnce:
        first, part = self._mapped[0].runs[0], self._mapped[0]
        return group_size.at_once(
            first.model, first.settings.partitioner, params, part.axes(), part.size, asked
        )


class _Part(abc.ABC):
    """Runs that take their step at once.

    Attributes:
        runs: of the part.
        waiting: metrics on the device, and of which runs: step and task ids.
    """

    def __init__(self, runs: Sequence[Run], step: step_lib.TrainStep):
        self.runs, self._mesh, self._step = runs, runs[0].settings.partitioner, step
        self._state: step_lib.TrainState
        self.waiting: list[tuple[Mapping[str, Any], dict[Run, tuple[int, np.ndarray]]]] = []

    def take_step(self, batches: Mapping[Run, Batch]) -> None:
        """The next step of the runs that are given a batch."""
        if not batches:
            return
        self._state, metrics = self._step(self._state, *self._arguments(batches))
        for run in batches:
            run.step += 1
        taken = {run: (run.step, batch["task_ids"]) for run, batch in batches.items()}
        self.waiting.append((metrics, taken))

    def metrics(self) -> list[Mapping[str, Any]]:
        """Those that are waiting."""
        return [metrics for metrics, _ in self.waiting]

    @abc.abstractmethod
    def of(self, index: int, metrics: Mapping[str, Any]) -> Mapping[str, Any]:
        """The metrics of one of the runs."""

    @abc.abstractmethod
    def _arguments(self, batches: Mapping[Run, Batch]) -> tuple:
        """Of the step, except for the state."""


class _One(_Part):
    """A run by itself."""

    def __init__(self, run: Run, step: step_lib.TrainStep, is_alone: bool):
        super().__init__([run], step)
        self._run, self._state = run, run.state()
        if not is_alone:  # of the backbone, the others start from the very arrays that it writes to
            self._state = jax.tree.map(jnp.copy, self._state)
        run.state = lambda: self._state

    def of(self, index, metrics):
        del index
        return metrics

    def _arguments(self, batches):
        run = self._run
        batch = self._mesh.shard_batch(batches[run])
        return run.frozen, batch, run.rng, run.optimizer.rates


class _Mapped(_Part):
    """Several; one that has ended keeps its place, and what is computed there is thrown away.

    Fewer than `size` are filled up with the last, so that all parts have one program.
    """

    def __init__(self, runs: Sequence[Run], step: step_lib.TrainStep, size: int):
        super().__init__(runs, step)
        self.size = size
        self._places = [*runs, *[runs[-1]] * (size - len(runs))]
        self._stack = run_axis.Stack(self._mesh, size)
        states = [run.state() for run in self._places]
        shardings = jax.tree.map(lambda leaf: leaf.sharding, states[0])
        self._of_one = jax.jit(_slice, out_shardings=shardings)
        self._state = self._stack.leaves(states)
        self._frozen = self._stack.frozen([run.frozen for run in self._places])
        self._rng = self._stack.leaves([run.rng for run in self._places])
        rates = [run.optimizer.rates for run in self._places]
        self._rates = {g: np.float32([each[g] for each in rates]) for g in rates[0]}
        for index, run in enumerate(runs):
            run.state = functools.partial(self._state_of, index)

    def of(self, index, metrics):
        return jax.tree.map(lambda leaf: leaf[index], metrics)

    def params(self) -> step_lib.Params:
        """All parameters of its places, those that they do not share on a first axis."""
        return step_lib.merge(self._state.trainable, self._frozen)

    def axes(self) -> step_lib.Params:
        """Of those: 0, or None where they are shared."""
        trained = jax.tree.map(lambda _: 0, self._state.trainable)
        return step_lib.merge(trained, run_axis.frozen_axes(self._frozen))

    def _arguments(self, batches):
        any_rows = next(iter(batches.values()))  # where a run has ended
        rows = [batches.get(run, any_rows) for run in self._places]
        return self._frozen, self._stack.batches(rows), self._rng, self._rates

    def _state_of(self, index: int) -> step_lib.TrainState:
        return self._of_one(self._state, index)


def _slice(state: step_lib.TrainState, index: int) -> step_lib.TrainState:
    """The state of one run of several."""
    return jax.tree.map(lambda leaf: leaf[index], state)
