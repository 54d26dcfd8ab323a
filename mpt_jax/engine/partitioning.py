"""Where arrays lie: a mesh of data × model partitions, and logical axis names mapped onto it.

Parameters carry logical axis names ("embed", "mlp", ...); one table of rules maps these to the
mesh, and a project adds its rows from outside. The batch is split over "data"; what a method adds
is small and replicated.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import traverse_util
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mpt_jax.engine.device_grid import device_grid
from mpt_jax.errors import UserError, did_you_mean

LogicalAxisRules = Sequence[tuple[str, str | None]]

DATA, MODEL = "data", "model"

_described: Sequence[Any] | None = None


@contextlib.contextmanager
def described(devices: Sequence[Any]) -> Iterator[None]:
    """Within it "all devices" are these, which are only described; no array can be laid on them."""
    global _described
    _described = devices
    try:
        yield
    finally:
        _described = None


def standard_logical_axis_rules(
    activation_partitioning_dims: int = 1,
    parameter_partitioning_dims: int = 1,
    additional_rules: LogicalAxisRules = (),
) -> LogicalAxisRules:
    """Rows (logical axis, mesh axis or None = replicated) for T5X's names and a method's.

    Args:
        activation_partitioning_dims: 1, as in T5X: activations are split over the batch, and over
            heads or the feed-forward width. T5X's 2 splits their width D too; not here.
        parameter_partitioning_dims: 1: parameters are split over the model axis; 2: over the data
            axis too, by their width D. A chip then holds less, and gathers what it needs.
        additional_rules: rows of further names, or for these names instead; the first row of a
            name counts, and they come first.

    Raises:
        UserError: other numbers of dimensions.
    """
    if activation_partitioning_dims != 1 or parameter_partitioning_dims not in (1, 2):
        raise UserError(
            "standard_logical_axis_rules takes activation_partitioning_dims = 1 and "
            "parameter_partitioning_dims = 1 or 2, not "
            f"{activation_partitioning_dims!r} and {parameter_partitioning_dims!r}."
        )
    return (
        *additional_rules,
        ("batch", DATA),
        ("vocab", MODEL),
        ("mlp", MODEL),
        ("heads", MODEL),
        ("joined_kv", MODEL),
        ("embed", DATA if parameter_partitioning_dims == 2 else None),
        ("kv", None),
        ("relpos_buckets", None),
        ("length", None),
        ("layers", None),
        ("prompt_length", None),
        ("tasks", None),
        ("rank", None),
        ("sources", None),
        ("bottleneck", None),
    )


class PjitPartitioner:
    """A mesh ("data", "model") and the shardings on it.

    Attributes:
        mesh: devices [data_partitions, model partitions].
        data_partitions: the number of parts of a batch.
        replicated: the sharding of what every device holds whole.
        batch_sharding: the sharding of an array [B, ...].
        logical_axis_rules: rows (logical axis, mesh axis or None).
    """

    def __init__(
        self,
        num_partitions: int | None = 1,
        model_parallel_submesh: Sequence[int] | None = None,
        logical_axis_rules: LogicalAxisRules | None = None,
        devices: Sequence[jax.Device] | None = None,
    ):
        """Lays out the mesh.

        Args:
            num_partitions: model partitions; the rest of the devices splits the data.
            model_parallel_submesh: instead of num_partitions: its product is their number.
            logical_axis_rules: default `standard_logical_axis_rules()`.
            devices: default all devices.

        Raises:
            UserError: the mesh is larger than the devices or does not divide them.
        """
        if devices is None:
            devices = jax.devices() if _described is None else _described
        devices = list(devices)
        model = _model_partitions(num_partitions, model_parallel_submesh, len(devices))
        self.data_partitions = len(devices) // model
        self.mesh = Mesh(device_grid(devices, model), (DATA, MODEL))
        self.replicated = NamedSharding(self.mesh, PartitionSpec())
        self.batch_sharding = NamedSharding(self.mesh, PartitionSpec(DATA))
        self.logical_axis_rules = _checked(logical_axis_rules or standard_logical_axis_rules())

    # Parameters and state.

    def sharding(
        self, axes: Mapping[str, Any], params: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Nested dict of NamedSharding, for a nested dict of tuples of logical axis names.

        Args:
            axes: nested dict of tuples of names.
            params: nested dict of arrays or shapes that must fit; not checked if not given.

        Raises:
            UserError: a name without a rule, or a dimension that its mesh axis does not divide.
        """
        flat = traverse_util.flatten_dict(axes)
        shardings = {path: self._one_sharding(path, names) for path, names in flat.items()}
        for path, leaf in traverse_util.flatten_dict(dict(params or {})).items():
            _check_divides("/".join(path), leaf.shape, shardings[path])
        return traverse_util.unflatten_dict(shardings)

    def _one_sharding(self, path: tuple[str, ...], names: Sequence[str | None]) -> NamedSharding:
        known = [name for name, _ in self.logical_axis_rules]
        for name in names:
            if name is not None and name not in known:
                raise UserError(
                    f"Parameter {'/'.join(path)} has the logical axis {name!r}, for which there is"
                    " no rule; add one with standard_logical_axis_rules.additional_rules ="
                    f" [({name!r}, None)].{did_you_mean(name, known)}"
                )
        return NamedSharding(
            self.mesh, nn.logical_to_mesh_axes(tuple(names), self.logical_axis_rules)
        )

    def place(self, params: Mapping[str, Any], axes: Mapping[str, Any]) -> dict[str, Any]:
        """Lays parameters (nested dict of arrays) on the mesh, by their logical axes.

        Raises:
            UserError: a name without a rule, or a dimension that its mesh axis does not divide.
        """
        shardings = traverse_util.flatten_dict(self.sharding(axes, params))
        flat = traverse_util.flatten_dict(dict(params))
        return traverse_util.unflatten_dict(
            {path: jax.device_put(leaf, shardings[path]) for path, leaf in flat.items()}
        )

    def state_sharding(self, state: Any, axes: Mapping[str, Any]) -> Any:
        """A tree of NamedSharding like `state` (any pytree of arrays or their shapes).

        A leaf that mirrors a parameter (the parameter itself or a moment of it: the end of its
        path is the parameter's, and the rank is the same) lies as the parameter does; the others
        (counts, factored moments) are replicated.

        Raises:
            UserError: a name without a rule, or a dimension that its mesh axis does not divide.
        """
        shardings = traverse_util.flatten_dict(self.sharding(axes))
        ranks = {path: len(names) for path, names in traverse_util.flatten_dict(axes).items()}

        def of_leaf(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
            keys = tuple(getattr(entry, "key", None) for entry in path)
            name = mirrored(keys, leaf.shape, ranks)
            if name is None:
                return self.replicated
            _check_divides("/".join(name), leaf.shape, shardings[name])
            return shardings[name]

        return jax.tree_util.tree_map_with_path(of_leaf, state)

    def place_state(self, state: Any, axes: Mapping[str, Any]) -> Any:
        """Lays a state (any pytree of arrays) on the mesh, as `state_sharding` says."""
        return jax.device_put(state, self.state_sharding(state, axes))

    # Batches.

    def check_batch_size(
        self, batch_size: int, num_microbatches: int = 1, name: str = "BATCH_SIZE"
    ) -> None:
        """Raises UserError unless B splits into microbatches, and these over the data axis.

        Args:
            batch_size: B.
            num_microbatches: of a training step.
            name: of the setting to change.
        """
        parts = num_microbatches * self.data_partitions
        if batch_size < 1 or num_microbatches < 1 or batch_size % parts:
            raise UserError(
                f"Batch size {batch_size} does not divide over {num_microbatches} microbatches ×"
                f" {self.data_partitions} data partitions: it must be a multiple of {parts}."
                f" Change {name}, trainer.Trainer.num_microbatches or"
                " partitioning.PjitPartitioner.num_partitions."
            )

    def shard_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Global arrays [B, ...] from this process's rows, as `data_shard` numbers them."""
        return {
            name: jax.make_array_from_process_local_data(self.batch_sharding, np.asarray(rows))
            for name, rows in batch.items()
        }

    def shard_whole_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Global arrays [B, ...] from all rows, the same on every process (evaluation)."""
        return {
            name: jax.make_array_from_callback(rows.shape, self.batch_sharding, rows.__getitem__)
            for name, rows in batch.items()
        }

    @property
    def data_shard(self) -> tuple[int, int]:
        """(index, count): which part of the data this process reads.

        Processes that share all their rows of the mesh (the model axis spans hosts) read the same.
        """
        processes = np.vectorize(lambda device: device.process_index)(self.mesh.devices)
        return data_shard(processes, jax.process_index())


def mirrored(
    path: tuple[Any, ...], shape: tuple[int, ...], ranks: Mapping[tuple[str, ...], int]
) -> tuple[str, ...] | None:
    """The parameter that a leaf of an optimizer's state mirrors, or None.

    Args:
        path: keys of the leaf in the state.
        shape: of the leaf.
        ranks: rank of every parameter by its path.
    """
    for start in range(len(path)):  # the longest end that is a parameter's path
        name = path[start:]
        # Adafactor keeps an unused moment as one number, of a vector's rank.
        if ranks.get(name) == len(shape) and shape != (1,):
            return name
    return None


def data_shard(processes: np.ndarray, process: int) -> tuple[int, int]:
    """(index, count) of a process's part of the data, for a mesh's process numbers [data, model].

    Processes are grouped by the rows they hold; the groups' order is that of their first rows.
    """
    rows = {int(p): tuple(np.nonzero((processes == p).any(axis=1))[0]) for p in processes.flat}
    parts = sorted(set(rows.values()))
    return parts.index(rows[process]), len(parts)


def _model_partitions(
    num_partitions: int | None, submesh: Sequence[int] | None, device_count: int
) -> int:
    """The size of the model axis, checked against the number of devices."""
    if submesh is not None:
        size = math.prod(submesh)
        if num_partitions not in (None, 1, size):
            raise UserError(
                f"PjitPartitioner: num_partitions = {num_partitions} and model_parallel_submesh ="
                f" {tuple(submesh)} (product {size}) disagree; give one of them."
            )
    else:
        size = 1 if num_partitions is None else num_partitions
    if size < 1 or device_count % size:
        relation = "more than" if size > device_count else "not a divisor of"
        raise UserError(
            f"PjitPartitioner: a mesh of {size} model partitions is {relation} the {device_count}"
            " device(s) of this run; set partitioning.PjitPartitioner.num_partitions to a divisor"
            f" of {device_count}."
        )
    return size


def _checked(rules: LogicalAxisRules) -> LogicalAxisRules:
    for name, mesh_axis in rules:
        if mesh_axis not in (DATA, MODEL, None):
            raise UserError(
                f"Logical axis rule ({name!r}, {mesh_axis!r}): the mesh axes are {DATA!r} and"
                f" {MODEL!r}, or None to replicate."
            )
    return tuple(rules)


def _check_divides(name: str, shape: Sequence[int], sharding: NamedSharding) -> None:
    """Raises UserError if a dimension does not divide over the mesh axis it is laid on."""
    for dim, (size, axis) in enumerate(zip(shape, sharding.spec, strict=False)):
        if axis is not None and size % (parts := sharding.mesh.shape[axis]):
            raise UserError(
                f"Parameter {name} {tuple(shape)}: dimension {dim} (= {size}) does not divide over"
                f" the mesh axis {axis!r} of {parts} (mesh {dict(sharding.mesh.shape)}); choose"
                " another num_partitions, or replicate that axis by a logical axis rule."
            )
