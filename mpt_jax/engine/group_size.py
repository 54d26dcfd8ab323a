"""How many runs of a group take their step at once: as many as suits the devices and fits.

On a CPU it is one. Its step fills the cores, and what is computed for several at once falls out of
their caches. On accelerators it is as many as fit, by the compiler's count of the step's memory.
Of their evaluation likewise.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from mpt_jax.backbone.store import BACKBONE_TREES
from mpt_jax.engine import run_axis
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.evaluation import answering
from mpt_jax.engine.evaluation.answering import Asked
from mpt_jax.engine.initialize import batch_shapes
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.engine.run import Run

_PART = 0.9  # of the memory that is free; evaluations and what is still going need some


def take_turns() -> bool:
    """Whether runs are best computed one after another."""
    return jax.default_backend() == "cpu"


def best(runs: Sequence[Run]) -> int:
    """Runs that take their step at once, from 1 to all (filled up to a multiple of the devices)."""
    mesh = runs[0].settings.partitioner
    if len(runs) == 1 or take_turns():
        return 1
    count = functools.partial(bytes_of_step, runs[0])
    return largest(len(runs), mesh.data_partitions, _free(mesh), count)


def at_once(
    model: Any,
    partitioner: PjitPartitioner,
    params: Mapping,
    axes: Any,
    runs: int,
    asked: Sequence[Asked],
) -> answering.AtOnce:
    """What answers as many batches at once as there are runs, if so many fit.

    Args:
        model, partitioner, axes: as `answering.AtOnce` takes them.
        params: of all runs.
        runs: their number.
        asked: of them.
    """
    make = functools.partial(answering.AtOnce, model, partitioner, axes)

    def bytes_of(size: int) -> int:
        return _needed(make(size).lower(params, asked)) - _resident(params)

    return make(largest(runs, partitioner.data_partitions, _free(partitioner), bytes_of))


def largest(runs: int, parts: int, free: int | None, bytes_of: Callable[[int], int]) -> int:
    """How many of the runs fit in `free` bytes of a device; None: all of them.

    Args:
        runs: their number.
        parts: data partitions, over which the runs lie where there are as many.
        free: bytes.
        bytes_of: those of a device that so many need. They are compiled for, so this may take
            minutes; compiled programs are kept on disk as others.
    """
    unit = parts if runs >= parts else 1
    size = -(-runs // unit) * unit
    while free is not None and size > 1 and (needed := bytes_of(size)) > free:
        fitting = int(size * free / needed) // unit * unit
        size = max(1, min(fitting, size - 1))
    # The last of several parts is filled up, so they are made alike.
    return _evenly(runs, size, unit)


def bytes_of_step(run: Run, size: int) -> int:
    """Bytes of a device that the step of so many runs needs, except for the shared backbone."""
    settings, mesh = run.settings, run.settings.partitioner
    stack = run_axis.Stack(mesh, size)
    batch = {
        name: jax.ShapeDtypeStruct(shape, "int32", sharding=mesh.batch_sharding)
        for name, shape in batch_shapes(settings.batch_size, settings.lengths).items()
    }
    rates = {group: jax.ShapeDtypeStruct((size,), "float32") for group in run.optimizer.rates}
    state, *rest = (stack.shapes(given) for given in (run.state(), batch, run.rng))
    frozen = stack.frozen_shapes(run.frozen)
    jitted = step_lib.jitted_train_step(
        run.model,
        run.optimizer,
        mesh,
        state,
        num_microbatches=settings.trainer.num_microbatches,
        **run_axis.options(mesh, run.frozen, size),
    )
    with jax.set_mesh(mesh.mesh):
        lowered = jitted.lower(state, frozen, *rest, rates)
    shared = [leaves for tree, leaves in run.frozen.items() if tree in BACKBONE_TREES]
    return _needed(lowered) - _resident(shared)


def _free(partitioner: PjitPartitioner) -> int | None:
    """Bytes of a device that may be used; None: it does not say."""
    stats = partitioner.mesh.devices.flat[0].memory_stats() or {}
    if "bytes_limit" not in stats:
        return None
    return int(_PART * (stats["bytes_limit"] - stats["bytes_in_use"]))


def _needed(lowered: Any) -> int:
    """Bytes of a device, by the compiler's count."""
    memory = lowered.compile().memory_analysis()
    new = memory.output_size_in_bytes - memory.alias_size_in_bytes
    return memory.argument_size_in_bytes + memory.temp_size_in_bytes + new


def _resident(tree: Any) -> int:
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))


def _evenly(count: int, size: int, unit: int) -> int:
    """The least size of parts, a multiple of `unit`, that needs no more parts of `count` runs."""
    if size < unit:
        return size
    parts = -(-count // size)
    return -(-count // (parts * unit)) * unit
