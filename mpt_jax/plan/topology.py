"""A described slice of TPUs: `v5e:8x8`, or several of them."""

import dataclasses
import importlib.util
import itertools
import math
import os
import re
from typing import Any

from mpt_jax.errors import UserError, did_you_mean, shown
from mpt_jax.plan.chips import CHIPS, SLICES, Chip

COMPILER = "libtpu"
INSTALL = "pip install 'mpt-jax[tpu_check]'"
_HOST = (2, 2, 1)  # chips


@dataclasses.dataclass(frozen=True)
class StandIn:
    """A device that only says where it is: enough for a mesh, not for a compiler."""

    id: int
    process_index: int
    coords: tuple[int, ...]
    slice_index: int
    core_on_chip: int = 0
    platform: str = "tpu"
    device_kind: str = "described"


@dataclasses.dataclass(frozen=True)
class Topology:
    """Slices of one kind.

    Attributes:
        name: as `v5e:8x8`.
        chip: its kind.
        shape: chips along each axis.
        slices: how many, joined by the data centre's network.
    """

    name: str
    chip: Chip
    shape: tuple[int, ...]
    slices: int = 1

    @property
    def chips(self) -> int:
        """Chips of all slices."""
        return self.slices * math.prod(self.shape)

    def devices(self) -> list[Any]:
        """What the compiler compiles for, where it is installed; else stand-ins.

        Raises:
            UserError: the compiler does not know the slice.
        """
        return _described(self) if has_compiler() else _stand_ins(self)


def has_compiler() -> bool:
    """Whether the TPU compiler is installed."""
    return importlib.util.find_spec(COMPILER) is not None


def parse(name: str, slices: int = 1) -> Topology:
    """The topology of a name.

    Raises:
        UserError: an unknown chip, or a shape that its slices do not have.
    """
    kind, _, text = name.partition(":")
    known = [f"{chip}:{shape}" for chip in CHIPS for shape in SLICES[CHIPS[chip].axes]]
    if kind not in CHIPS:
        raise UserError(
            f"--topology={shown(name)} is not known: write CHIP:SHAPE, the chip one of "
            f"{', '.join(CHIPS)}.{did_you_mean(name, known)}"
        )
    chip = CHIPS[kind]
    shape = tuple(map(int, text.split("x"))) if re.fullmatch(r"\d{1,4}(x\d{1,4})*", text) else ()
    whole = len(shape) == chip.axes and all(
        0 < size <= chip.largest and size % host == 0
        for size, host in zip(shape, _HOST, strict=False)
    )
    if not whole:
        raise UserError(
            f"--topology={shown(name)}: a slice of {kind} has {chip.axes} axes, of at most"
            f" {chip.largest} chips each, even along the first two.{did_you_mean(name, known)}"
            f" Known are {', '.join(f'{kind}:{s}' for s in SLICES[chip.axes])}."
        )
    if slices < 1:
        raise UserError(f"--slices={slices} must be at least 1.")
    return Topology(name, chip, shape, slices)


def _described(topology: Topology) -> list[Any]:
    # The compiler's library looks for the machine that it is on, and would wait for its metadata.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault(
        "ALLOW_MULTIPLE_LIBTPU_LOAD", "1"
    )  # no chip is taken that others could use
    from jax.experimental import topologies

    options: dict[str, Any] = {"num_slices": topology.slices} if topology.slices > 1 else {}
    if topology.chip.cores:
        options["chip_config_name"] = topology.chip.cores
    try:
        described = topologies.get_topology_desc(
            platform="tpu", topology_name=topology.name, **options
        )
    except Exception as error:  # whatever the library raises: it knows slices that we do not
        line = str(error).strip().splitlines()[0]
        raise UserError(f"--topology={topology.name}: the TPU compiler says: {line}") from error
    return list(described.devices)


def _stand_ins(topology: Topology) -> list[StandIn]:
    """The same chips in the same hosts, in the order of x, y, z."""
    shape = (*topology.shape, 1)[:3]
    hosts = [size // own for size, own in zip(shape, _HOST, strict=True)]
    found = []
    for index in range(topology.slices):
        for coords in itertools.product(*map(range, shape)):
            x, y, z = (c // own for c, own in zip(coords, _HOST, strict=True))
            host = (index * math.prod(hosts)) + (x * hosts[1] + y) * hosts[2] + z
            found.append(StandIn(len(found), host, coords, index))
    return found
