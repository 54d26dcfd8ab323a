"""The setting that fits on the fewest model partitions and saves least, as gin flags to add."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mpt_jax.engine.device_grid import device_grid
from mpt_jax.errors import UserError
from mpt_jax.plan import estimate, program, show
from mpt_jax.plan.program import Setup
from mpt_jax.plan.topology import Topology

ORDER = (
    "the fewest model partitions; with these the first that fits of the settings as they are, "
    "DTYPE = bfloat16, remat with scanned layers too, 2, 4 and 8 microbatches too"
)
_PARTITIONS = "partitioning.PjitPartitioner.num_partitions"
_MICROBATCHES = "trainer.Trainer.num_microbatches"


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """A setting that fits.

    Attributes:
        overrides: gin flags, "NAME=VALUE".
        counts, compiled: what came of it.
    """

    overrides: list[str]
    counts: estimate.Counted
    compiled: estimate.Compiled


@dataclasses.dataclass(frozen=True)
class _Try:
    overrides: list[str]
    setup: Setup
    program: program.Program
    counts: estimate.Counted


def search(
    read: Callable[[Sequence[str]], Setup],
    topology: Topology,
    told: Callable[[list[str], str], None],
    config: str = "config.T5Config",
) -> Suggestion:
    """The setting of `ORDER` that fits, with few compilations.

    A number of partitions on which even weights in bfloat16 are too large needs none. On others
    each setting of the order is taken to need less memory than the one before, so that the first
    that fits is found by bisection. What the gin files make one setting is compiled once.

    Args:
        read: gives the setup with further overrides.
        topology: what it must fit on.
        told: is called with each setting and what came of it.
        config: what has `remat` and `scan_layers`: another where a checkpoint tells the sizes.

    Raises:
        UserError: none fits.
    """
    step = read([f"{_PARTITIONS}=1"]).step
    for size in _sizes(topology):
        settings = list(_settings(size, step, config))
        smallest = _tried(settings[1], read, topology, told)
        if smallest is None:
            continue
        if smallest.counts.arguments > topology.chip.memory:
            told(smallest.overrides, "the arguments alone do not fit")
            continue
        tries: dict[tuple, _Try] = {}
        for overrides in settings:  # too many microbatches for the batch are skipped
            if each := _tried(overrides, read, topology, lambda *_: None):
                setup = each.setup
                key = (setup.model.config, setup.restore, setup.num_microbatches)
                tries.setdefault(key, each)
        if found := _first_that_fits(list(tries.values()), topology, told):
            return found
    raise UserError(
        f"nothing that was tried fits on {topology.name}: take more or larger chips, a smaller "
        "BATCH_SIZE or shorter TASK_FEATURE_LENGTHS."
    )


def _tried(
    overrides: list[str],
    read: Callable[[Sequence[str]], Setup],
    topology: Topology,
    told: Callable[[list[str], str], None],
) -> _Try | None:
    try:
        setup = read(overrides)
        built = program.build(setup)
    except UserError as error:  # a batch or a parameter that this mesh does not divide
        told(overrides, str(error).split(":")[0])
        return None
    return _Try(overrides, setup, built, estimate.counted(built, topology))


def _first_that_fits(
    tries: Sequence[_Try], topology: Topology, told: Callable[[list[str], str], None]
) -> Suggestion | None:
    memory, whole = topology.chip.memory, tries[0].setup.num_microbatches
    low, high, found = 0, len(tries), None
    at = 0  # where the weights leave room; else what saves most without microbatches
    if tries[0].counts.arguments > memory / 2:
        at = max(i for i, each in enumerate(tries) if each.setup.num_microbatches == whole)
    while low < high:
        each = tries[at]
        if each.counts.arguments > memory:
            fits, outcome = False, "the arguments alone do not fit"
        else:
            compiled = estimate.compile_program(each.program, topology)
            fits = compiled.fits
            outcome = f"{'fits' if fits else 'does not fit'}, {show.of_memory(compiled, topology)}"
        told(each.overrides, outcome)
        if fits:
            found, high = Suggestion(each.overrides, each.counts, compiled), at
        else:
            low = at + 1
        at = (low + high) // 2
    return found


def _settings(size: int, step: str, config: str) -> Iterator[list[str]]:
    setting = [f"{_PARTITIONS}={size}"]
    yield setting
    setting = [*setting, "DTYPE=bfloat16"]
    yield setting
    if step == program.TRAIN:
        setting = [*setting, f"{config}.remat=True", f"{config}.scan_layers=True"]
        yield setting
        for parts in (2, 4, 8):
            yield [*setting, f"{_MICROBATCHES}={parts}"]


def _sizes(topology: Topology) -> Iterator[int]:
    """Numbers of model partitions, from 1, that a mesh of the slice can have."""
    devices = topology.devices()
    for size in range(1, topology.chips + 1):
        if topology.chips % size == 0 and _has_mesh(devices, size):
            yield size


def _has_mesh(devices: Sequence[Any], size: int) -> bool:
    try:
        device_grid(devices, size)
    except UserError:
        return False
    return True
