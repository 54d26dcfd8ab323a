"""The first setting that fits, in a fixed order, as gin flags to add to the command."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from mpt_jax.engine.device_grid import device_grid
from mpt_jax.errors import UserError
from mpt_jax.plan import estimate, program
from mpt_jax.plan.program import Setup
from mpt_jax.plan.topology import Topology

ORDER = (
    "fewest model partitions first; with each the settings as they are, then DTYPE = bfloat16, "
    "then remat too, then 2, 4 and 8 microbatches too"
)
_PARTITIONS = "partitioning.PjitPartitioner.num_partitions"
_MICROBATCHES = "trainer.Trainer.num_microbatches"
_FEWER_BITS = ["DTYPE=bfloat16"]


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """A setting that was tried.

    Attributes:
        overrides: gin flags, "NAME=VALUE".
        counts, compiled: what came of it.
    """

    overrides: list[str]
    counts: estimate.Counted
    compiled: estimate.Compiled


def search(
    read: Callable[[Sequence[str]], Setup],
    topology: Topology,
    told: Callable[[list[str], str], None],
    remat: str = "config.T5Config.remat",
) -> Suggestion:
    """The first setting that fits, in the order of `ORDER`.

    Args:
        read: gives the setup with further overrides.
        topology: what it must fit on.
        told: is called with each setting and what came of it.
        remat: the name of that setting, which is another where a checkpoint tells the sizes.

    Raises:
        UserError: none fits.
    """
    seen = set()
    for overrides in _settings(topology, read([]).step, [f"{remat}=True"]):
        try:
            setup = read(overrides)
            key = (overrides[0], setup.model.config, setup.restore, setup.num_microbatches)
            if key in seen:  # the gin files say so already
                continue
            seen.add(key)
            built = program.build(setup)
        except UserError as error:  # a batch or a parameter that this mesh does not divide
            told(overrides, str(error).split(":")[0])
            continue
        counts = estimate.counted(built, topology)
        if counts.arguments > topology.chip.memory:
            told(overrides, "the arguments alone do not fit")
            continue
        compiled = estimate.compile_program(built, topology)
        told(overrides, "fits" if compiled.fits else "does not fit")
        if compiled.fits:
            return Suggestion(overrides, counts, compiled)
    raise UserError(
        f"nothing that was tried fits on {topology.name}: take more or larger chips, a smaller "
        "BATCH_SIZE or shorter TASK_FEATURE_LENGTHS."
    )


def _settings(topology: Topology, step: str, remat: list[str]) -> Iterator[list[str]]:
    sizes = [size for size in range(1, topology.chips + 1) if topology.chips % size == 0]
    for size in filter(lambda size: _has_mesh(topology, size), sizes):
        partitions = [f"{_PARTITIONS}={size}"]
        yield partitions
        yield partitions + _FEWER_BITS
        if step == program.TRAIN:
            yield partitions + _FEWER_BITS + remat
            for parts in (2, 4, 8):
                yield partitions + _FEWER_BITS + remat + [f"{_MICROBATCHES}={parts}"]


def _has_mesh(topology: Topology, size: int) -> bool:
    try:
        device_grid(topology.devices(), size)
    except UserError:
        return False
    return True
