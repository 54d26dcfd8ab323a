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


class Stack:
    """How `size` runs lie on a mesh."""

    def __init__(self, partitioner: PjitPartitioner, size: int):
        self._partitioner, self._size = partitioner, size
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

    def params(self, trees: Sequence[Mapping]) -> tuple[dict, dict]:
        """All parameters, and their axes: None for arrays that all share, 0 for what is stacked."""
        flat = [traverse_util.flatten_dict(tree) for tree in trees]
        stacked, axes = {}, {}
        for path, leaf in flat[0].items():
            is_shared = all(each[path] is leaf for each in flat)
            stacked[path] = leaf if is_shared else self.leaves([each[path] for each in flat])
            axes[path] = None if is_shared else 0
        return traverse_util.unflatten_dict(stacked), traverse_util.unflatten_dict(axes)

    def shapes(self, tree: Any) -> Any:
        """What `leaves` gives for trees of arrays like this one: their shapes, laid out."""

        def stack(leaf: Any) -> jax.ShapeDtypeStruct:
            place, shape = self.sharding(leaf.sharding), (self._size, *leaf.shape)
            return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=place)

        return jax.tree.map(stack, tree)

    def frozen_shapes(self, frozen: Mapping) -> dict:
        """Those of `frozen`."""
        return {
            tree: leaves if tree in store.BACKBONE_TREES else self.shapes(leaves)
            for tree, leaves in frozen.items()
        }

    def batches(self, batches: Sequence[Batch]) -> dict[str, jax.Array]:
        """Batches of this process, of as many rows each."""
        return {
            name: jax.make_array_from_process_local_data(self._of_batches, array)
            for name, array in stacked_batch(batches).items()
        }

    def whole_batches(self, batches: Sequence[Batch]) -> dict[str, jax.Array]:
        """Whole batches of as many rows each, the same on every process."""
        return {
            name: jax.make_array_from_callback(array.shape, self._of_batches, array.__getitem__)
            for name, array in stacked_batch(batches).items()
        }

    @property
    def _of_batches(self) -> NamedSharding:
        rows = None if self._first else DATA
        return NamedSharding(self._partitioner.mesh, PartitionSpec(self._first, rows))

    def sharding(self, of_one: Any) -> NamedSharding:
        """That of what lies as `of_one` for a single run."""
        spec = of_one.spec if isinstance(of_one, NamedSharding) else ()
        if self._first:  # which a run by itself may have on another axis
            spec = [None if axis == DATA else axis for axis in spec]
        return NamedSharding(self._partitioner.mesh, PartitionSpec(self._first, *spec))


def lies_over_data(partitioner: PjitPartitioner, size: int) -> bool:
    """Whether each data partition has whole runs; of several hosts each reads a part of a batch."""
    parts = partitioner.data_partitions
    hosts = {device.process_index for device in partitioner.mesh.devices.flat}
    return size > 1 and parts > 1 and size % parts == 0 and len(hosts) == 1


def options(partitioner: PjitPartitioner, frozen: Mapping, size: int) -> dict[str, Any]:
    """What `step.jitted_train_step` is told of `size` runs at once; of one, nothing.

    Args:
        partitioner: the mesh.
        frozen: nested dict of the frozen parameters of a run, or of their shapes.
        size: how many.
    """
    if size == 1:
        return {}
    over_data = lies_over_data(partitioner, size)
    return {"frozen_axes": frozen_axes(frozen), "runs_over_data": over_data}


def frozen_axes(frozen: Mapping) -> dict:
    """0 for frozen parameters that each run has of its own, None for the backbone's."""
    flat = traverse_util.flatten_dict(frozen)
    return traverse_util.unflatten_dict({p: None if _is_shared(p) else 0 for p in flat})


def _is_shared(path: tuple[str, ...]) -> bool:
    return path[0] in store.BACKBONE_TREES


def stacked_batch(batches: Sequence[Batch]) -> Batch:
    """Batches of as many rows on a new first axis, each padded to the longest of them."""

    def padded(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        missing = [(0, most - own) for most, own in zip(shape, array.shape, strict=True)]
        return np.pad(array, missing, constant_values=PAD_ID) if array.shape != shape else array

    stacked = {}
    for name in batches[0]:
        arrays = [batch[name] for batch in batches]
        shape = tuple(max(sizes) for sizes in zip(*(each.shape for each in arrays), strict=True))
        stacked[name] = np.stack([padded(each, shape) for each in arrays])
    return stacked
