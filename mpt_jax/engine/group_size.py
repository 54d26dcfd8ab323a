"""How many runs of a group take their step at once: as many as suits the devices and fits.

On a CPU it is one. Its step fills the cores, and what is computed for several at once falls out of
their caches. On accelerators it is as many as fit, by the compiler's count of the step's memory.
"""

from collections.abc import Sequence

import jax

from mpt_jax.backbone.store import BACKBONE_TREES
from mpt_jax.engine import run_axis
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.initialize import batch_shapes
from mpt_jax.engine.run import Run

_PART = 0.9  # of the memory that is free; evaluations and what is still going need some


def best(runs: Sequence[Run]) -> int:
    """Runs that take their step at once, from 1 to all (filled up to a multiple of the devices)."""
    partitioner = runs[0].settings.partitioner
    device = partitioner.mesh.devices.flat[0]
    if len(runs) == 1 or device.platform == "cpu":
        return 1
    stats = device.memory_stats() or {}
    free = None
    if "bytes_limit" in stats:
        free = int(_PART * (stats["bytes_limit"] - stats["bytes_in_use"]))
    return largest(runs, free)


def largest(runs: Sequence[Run], free: int | None) -> int:
    """Of how many runs the step fits in `free` bytes of a device; None: of all of them.

    They are compiled for, so this may take minutes; compiled programs are kept on disk as others.
    """
    parts = runs[0].settings.partitioner.data_partitions
    unit = parts if len(runs) >= parts else 1
    size = -(-len(runs) // unit) * unit
    while free is not None and size > 1 and (needed := bytes_of(runs, size)) > free:
        fitting = int(size * free / needed) // unit * unit
        size = max(1, min(fitting, size - 1))
    # The last of several parts is filled up, so they are made alike.
    return _evenly(len(runs), size, unit)


def bytes_of(runs: Sequence[Run], size: int) -> int:
    """Bytes of a device that the step of so many runs needs, but for the shared backbone."""
    first = runs[0]
    settings, mesh = first.settings, first.settings.partitioner
    stack, shapes = run_axis.Stack(mesh, size), batch_shapes(settings.batch_size, settings.lengths)
    batch = {
        name: jax.ShapeDtypeStruct(shape, "int32", sharding=mesh.batch_sharding)
        for name, shape in shapes.items()
    }
    rates = {group: jax.ShapeDtypeStruct((size,), "float32") for group in first.optimizer.rates}
    state, *rest = (stack.shapes(given) for given in (first.state(), batch, first.rng))
    frozen = stack.frozen_shapes(first.frozen)
    jitted = step_lib.jitted_train_step(
        first.model,
        first.optimizer,
        mesh,
        state,
        num_microbatches=settings.trainer.num_microbatches,
        **run_axis.options(mesh, first.frozen, size),
    )
    with jax.set_mesh(mesh.mesh):
        lowered = jitted.lower(state, frozen, *rest, rates)
        memory = lowered.compile().memory_analysis()
    total = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    new = memory.output_size_in_bytes - memory.alias_size_in_bytes
    shared = [leaves for tree, leaves in first.frozen.items() if tree in BACKBONE_TREES]
    resident = [leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(shared)]
    return total + new - sum(resident)


def _evenly(count: int, size: int, unit: int) -> int:
    """The least size of parts, a multiple of `unit`, that needs no more parts of `count` runs."""
    if size < unit:
        return size
    parts = -(-count // size)
    return -(-count // (parts * unit)) * unit
