"""Which device stands where on a mesh (data, model), for TPU slices, hosts and several slices.

A TPU's chips lie on a grid with links between neighbours. Each row of the model axis is made a
small box of it, whose chips are visited in a path of single steps; a host's chips stay together, so
that a host reads one part of the data. Slices meet along the data axis only, because the network
between them is slower.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mpt_jax.errors import UserError

Place = tuple[int, ...]
_SETTING = "set partitioning.PjitPartitioner.num_partitions"


def device_grid(devices: Sequence[Any], model: int) -> np.ndarray:
    """The devices as a mesh, each once; every host's devices are one block of it.

    Args:
        devices: of a number that `model` divides. TPUs tell their `coords`, `core_on_chip` and
            `slice_index`; the others are taken in the order of their hosts (`process_index`).
        model: size of the model axis.

    Returns:
        [data, model] devices (dtype object).

    Raises:
        UserError: a model axis that would span slices, or share hosts with its neighbours.
    """
    slices: dict[int, list[Any]] = {}
    for device in devices:
        slices.setdefault(getattr(device, "slice_index", None) or 0, []).append(device)
    smallest = min(map(len, slices.values()))
    if any(len(members) % model for members in slices.values()):
        raise UserError(
            f"PjitPartitioner: {model} model partitions would span slices, of {smallest} devices "
            f"each, and the network between them is slow; {_SETTING} to a divisor of {smallest}."
        )
    rows = [row for index in sorted(slices) for row in _rows(slices[index], model)]
    grid = np.empty((len(rows), model), object)
    for row, members in enumerate(rows):
        grid[row] = members
    return grid


def _rows(devices: Sequence[Any], model: int) -> list[list[Any]]:
    """The rows of one slice, host after host."""
    by_host = sorted(devices, key=lambda device: (device.process_index, device.id))
    hosts = [list(own) for _, own in itertools.groupby(by_host, lambda d: d.process_index)]
    size = math.gcd(*map(len, hosts))
    if model % size and size % model:
        raise UserError(
            f"PjitPartitioner: {model} model partitions would share hosts, of {size} devices each, "
            f"with one another; {_SETTING} to a divisor or a multiple of {size}."
        )
    places = {_place(device): device for device in devices}
    shapes = {_extent(map(_place, own)) for own in hosts}
    if not _is_box(places) or len(shapes) > 1 or not all(_is_box(map(_place, h)) for h in hosts):
        return [by_host[start : start + model] for start in range(0, len(by_host), model)]
    (host,) = shapes
    box = _model_box(_extent(places), host, model)
    first, block = np.min(list(places), axis=0), np.minimum(box, host)
    rows = [
        [places[place] for place in _path(first + np.array(index) * box, box, block)]
        for index in np.ndindex(*(np.array(_extent(places)) // box))
    ]
    return sorted(rows, key=lambda row: min(device.process_index for device in row))


def _place(device: Any) -> Place:
    """Where a device is: its chip's coordinates and its core; () if it does not tell."""
    coords = getattr(device, "coords", None)
    return () if coords is None else (*coords, getattr(device, "core_on_chip", 0))


def _extent(places: Iterable[Place]) -> Place:
    """Chips along each axis that the places span."""
    places = np.array(list(places))
    return tuple(int(size) for size in np.ptp(places, axis=0) + 1)


def _is_box(places: Iterable[Place]) -> bool:
    """Whether the places fill what they span."""
    places = set(places)
    return () not in places and math.prod(_extent(places)) == len(places)


def _model_box(extent: Place, host: Place, model: int) -> Place:
    """The most compact box of `model` places that tiles the slice, within a host or of hosts."""

    def nested(box: Place) -> bool:
        return all(h % b == 0 for h, b in zip(host, box, strict=True)) or all(
            b % h == 0 for h, b in zip(host, box, strict=True)
        )

    sides = [[side for side in range(1, size + 1) if size % side == 0] for size in extent]
    boxes = [box for box in itertools.product(*sides) if math.prod(box) == model and nested(box)]
    return min(boxes, key=lambda box: (sum(box), box))


def _path(start: Sequence[int], box: Place, block: Sequence[int]) -> list[Place]:
    """All places of a box at `start` in single steps, block after block."""
    counts = [b // size for b, size in zip(box, block, strict=True)]
    blocks = [
        {tuple(map(int, start + block * np.array(index) + within)) for within in np.ndindex(*block)}
        for index in _snake(counts)
    ]
    path: list[Place] = []
    for members, after in itertools.zip_longest(blocks, blocks[1:]):
        ways = (w for w in _ways(path, members) if after is None or _steps_into(w[-1], after))
        path = next(ways, [*path, *sorted(members)])  # hosts of one row of chips may leave no way
    return path


def _snake(counts: Sequence[int]) -> list[Place]:
    """All indices of a grid, each one step from the one before."""
    path: list[Place] = [()]
    for count in reversed(counts):
        path = [(i, *rest) for i in range(count) for rest in (path[::-1] if i % 2 else path)]
    return path


def _ways(path: list[Place], left: set[Place]) -> Iterator[list[Place]]:
    """Every path in single steps that goes on from `path` through all that is left."""
    if not left:
        yield path
    for place in sorted(left):
        if not path or _steps_into(path[-1], {place}):
            yield from _ways([*path, place], left - {place})


def _steps_into(place: Place, others: Iterable[Place]) -> bool:
    """Whether a place is next to one of the others."""
    return any(sum(abs(a - b) for a, b in zip(place, o, strict=True)) == 1 for o in others)
