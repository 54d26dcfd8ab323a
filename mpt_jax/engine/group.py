"""Runs that take their steps in one program, over one frozen backbone.

The step of a run is mapped over a leading axis of runs, on which their states, batches, keys and
rates are stacked. The frozen weights have no such axis, so the compiler multiplies the rows of all
runs with them at once. Nothing else is shared: each run has its own moments, clipping, dropout,
schedule by its own step, and keeps its own state where its own loss is not finite.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax.sharding import NamedSharding, PartitionSpec

from mpt_jax.backbone import store
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.data.length_buckets import PAD_ID, Batch
from mpt_jax.engine.run import Run


class Group:
    """The programs and the state of runs that go on together; of one run, its own.

    A run that has ended keeps its place, and what is computed there is thrown away.

    Args:
        runs: started, and able to share (`sharing.Sharing`).
    """

    def __init__(self, runs: Sequence[Run]):
        self._runs = runs
        self._is_one = len(runs) == 1
        first = runs[0]
        self._mesh = first.settings.partitioner
        microbatches = first.settings.trainer.num_microbatches
        options: dict[str, Any] = {"num_microbatches": microbatches}
        if self._is_one:
            self._state, self._frozen, self._rng = first.state(), first.frozen, first.rng
            self._rates = first.optimizer.rates
        else:
            self._state = self._stacked([run.state() for run in runs])
            self._frozen, options["frozen_axes"] = self._stacked_frozen()
            self._rng = jnp.stack([run.rng for run in runs])
            rates = [run.optimizer.rates for run in runs]
            self._rates = {g: np.float32([each[g] for each in rates]) for g in rates[0]}
        self._step = step_lib.make_train_step(first.model, first.optimizer, self._mesh, **options)
        self._waiting: list[tuple[Mapping[str, Any], dict[Run, tuple[int, np.ndarray]]]] = []
        self._is_first = True
        for index, run in enumerate(runs):
            run.state = functools.partial(self._state_of, index)

    def take_step(self, batches: Mapping[Run, Batch]) -> None:
        """The next step of the runs that are given a batch; their metrics stay on the device."""
        if not batches:
            return
        any_rows = next(iter(batches.values()))  # where a run has ended
        self._state, metrics = self._step(
            self._state,
            self._frozen,
            self._sharded([batches.get(run, any_rows) for run in self._runs]),
            self._rng,
            self._rates,
        )
        for run in batches:
            run.step += 1
        self._waiting.append(
            (metrics, {run: (run.step, batch["task_ids"]) for run, batch in batches.items()})
        )
        if self._is_first:
            self._is_first = False
            jax.block_until_ready(metrics)
            for run in batches:
                run.begun()

    def hand_out_metrics(self) -> None:
        """Fetch, all at once, the metrics of the steps since the last time, for the runs."""
        waiting, self._waiting = self._waiting, []
        fetched = jax.device_get([metrics for metrics, _ in waiting])
        for metrics, (_, taken) in zip(fetched, waiting, strict=True):
            for index, run in enumerate(self._runs):
                if run in taken:
                    step, task_ids = taken[run]
                    run.window.add(step, self._of(index, metrics), task_ids)

    def _state_of(self, index: int) -> step_lib.TrainState:
        return self._state if self._is_one else _slice(self._state, index)

    def _of(self, index: int, metrics: Mapping[str, Any]) -> Mapping[str, Any]:
        return metrics if self._is_one else jax.tree.map(lambda leaf: leaf[index], metrics)

    def _stacked(self, trees: Sequence[Any]) -> Any:
        def stack(*leaves: jax.Array) -> jax.Array:
            spec = PartitionSpec(None, *leaves[0].sharding.spec)
            return jax.device_put(jnp.stack(leaves), NamedSharding(self._mesh.mesh, spec))

        return jax.tree.map(stack, *trees)

    def _stacked_frozen(self) -> tuple[dict, dict]:
        """The backbone's leaves once, the others of all runs; and where the axis of runs is."""
        flat = [traverse_util.flatten_dict(run.frozen) for run in self._runs]
        axes = {path: None if path[0] in store.BACKBONE_TREES else 0 for path in flat[0]}
        leaves = {
            path: leaf if axes[path] is None else self._stacked([each[path] for each in flat])
            for path, leaf in flat[0].items()
        }
        return traverse_util.unflatten_dict(leaves), traverse_util.unflatten_dict(axes)

    def _sharded(self, batches: Sequence[Batch]) -> dict[str, jax.Array]:
        if self._is_one:
            return self._mesh.shard_batch(batches[0])
        spec = PartitionSpec(None, *self._mesh.batch_sharding.spec)
        sharding = NamedSharding(self._mesh.mesh, spec)
        return {
            name: jax.make_array_from_process_local_data(sharding, rows)
            for name, rows in stacked_batch(batches).items()
        }


def stacked_batch(batches: Sequence[Batch]) -> Batch:
    """Batches of as many rows on a new first axis, each padded to the longest of them."""

    def padded(array: np.ndarray, width: int) -> np.ndarray:
        missing = width - array.shape[1]
        return np.pad(array, [(0, 0), (0, missing)], constant_values=PAD_ID) if missing else array

    stacked = {}
    for name, array in batches[0].items():
        arrays = [batch[name] for batch in batches]
        if array.ndim > 1:
            width = max(each.shape[1] for each in arrays)
            arrays = [padded(each, width) for each in arrays]
        stacked[name] = np.stack(arrays)
    return stacked


@jax.jit
def _slice(state: step_lib.TrainState, index: int) -> step_lib.TrainState:
    """The state of one run of several."""
    return jax.tree.map(lambda leaf: leaf[index], state)
