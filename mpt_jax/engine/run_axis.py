"""What runs that take their step at once give to it: stacked on a leading axis of runs.

Where there are at least as many runs as data partitions, that axis lies over these: each has whole
runs, and needs nothing of the others. Else the rows of every batch do, as those of a run alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax.sharding import NamedSharding, PartitionSpec

from mpt_jax.backbone import store
from mpt_jax.engine.data.length_buckets import PAD_ID, Batch
from mpt_jax.engine.partitioning import DATA, PjitPartitioner
from mpt_jax.engine.run import Run


class Stack:
    """How `size` runs lie on a mesh."""

    def __init__(self, partitioner: PjitPartitioner, size: int):
        self._partitioner = partitioner
        self._first = DATA if lies_over_data(partitioner, size) else None

    def leaves(self, trees: Sequence[Any]) -> Any:
        """Trees of arrays, stacked."""

        def stack(*leaves: jax.Array) -> jax.Array:
            return jax.device_put(jnp.stack(leaves), self.sharding(leaves[0].sharding))

        return jax.tree.map(stack, *trees)

    def frozen(self, trees: Sequence[Mapping]) -> dict:
        """Frozen parameters: the backbone's leaves once, the others of all runs."""
        flat = [traverse_util.flatten_dict(tree) for tree in trees]
        return traverse_util.unflatten_dict(
            {
                path: leaf if _is_shared(path) else self.leaves([each[path] for each in flat])
                for path, leaf in flat[0].items()
            }
        )

    def batches(self, batches: Sequence[Batch]) -> dict[str, jax.Array]:
        """Batches of this process, of as many rows each."""
        rows = None if self._first else DATA
        sharding = NamedSharding(self._partitioner.mesh, PartitionSpec(self._first, rows))
        return {
            name: jax.make_array_from_process_local_data(sharding, array)
            for name, array in stacked_batch(batches).items()
        }

    def sharding(self, of_one: Any) -> NamedSharding:
        """That of what lies as `of_one` for a single run."""
        spec = of_one.spec if isinstance(of_one, NamedSharding) else ()
        if self._first:  # which a run by itself may have on another axis
            spec = [None if axis == DATA else axis for axis in spec]
        return NamedSharding(self._partitioner.mesh, PartitionSpec(self._first, *spec))


def lies_over_data(partitioner: PjitPartitioner, size: int) -> bool:
    """Whether each data partition has whole runs; of several hosts each reads a part of a batch."""
    parts = partitioner.data_partitions
    return size > 1 and parts > 1 and size % parts == 0 and jax.process_count() == 1


def options(runs: Sequence[Run], size: int) -> dict[str, Any]:
    """The arguments of `step.jitted_train_step` for `size` of the runs at once."""
    settings = runs[0].settings
    found: dict[str, Any] = {"num_microbatches": settings.trainer.num_microbatches}
    if size > 1:
        found["frozen_axes"] = frozen_axes(runs[0].frozen)
        found["runs_over_data"] = lies_over_data(settings.partitioner, size)
    return found


def frozen_axes(frozen: Mapping) -> dict:
    """Where the axis of runs is in the frozen parameters of several; None where there is none."""
    flat = traverse_util.flatten_dict(frozen)
    return traverse_util.unflatten_dict({p: None if _is_shared(p) else 0 for p in flat})


def _is_shared(path: tuple[str, ...]) -> bool:
    return path[0] in store.BACKBONE_TREES


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
