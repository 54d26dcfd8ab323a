"""Meshes of TPU slices as they are described, without a TPU."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from mpt_jax.engine.device_grid import device_grid
from mpt_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Chip:
    id: int
    process_index: int
    coords: tuple[int, ...]
    slice_index: int = 0
    core_on_chip: int = 0


@dataclasses.dataclass(frozen=True)
class Card:
    """A GPU or a CPU: it tells no place."""

    id: int
    process_index: int


def slice_of(shape, host=(2, 2, 1), index=0, cores=1):
    """A slice of x × y × z chips, whose hosts hold boxes of `host` chips."""
    chips, hosts = [], [size // own for size, own in zip(shape, host, strict=True)]
    for coords in itertools.product(*map(range, shape)):
        place = [c // own for c, own in zip(coords, host, strict=True)]
        process = np.ravel_multi_index(place, hosts) + index * math.prod(hosts)
        for core in range(cores):
            chips.append(Chip(len(chips) + index * 10**5, int(process), coords, index, core))
    np.random.default_rng(0).shuffle(chips)
    return chips


SLICES = {
    "v5e-4": slice_of((2, 2, 1)),
    "v5e-8, one host": slice_of((2, 4, 1), (2, 4, 1)),
    "v5e-16": slice_of((4, 4, 1)),
    "v5e-64": slice_of((8, 8, 1)),
    "v5e-256": slice_of((16, 16, 1)),
    "v5p 2x2x3": slice_of((2, 2, 3)),
    "v5p 4x4x4": slice_of((4, 4, 4)),
    "v3, two cores per chip": slice_of((4, 4, 1), cores=2),
    "two of v5e-16": slice_of((4, 4, 1)) + slice_of((4, 4, 1), index=1),
    "four of v5p 2x2x2": [c for i in range(4) for c in slice_of((2, 2, 2), index=i)],
}


def check(grid, devices):
    """Every device once, rows of single steps in one slice, hosts in blocks of whole steps."""
    assert sorted(d.id for d in grid.flat) == sorted(d.id for d in devices)
    for row in grid:
        assert len({d.slice_index or 0 for d in row}) == 1
        places = np.array([(*d.coords, d.core_on_chip) for d in row])
        assert (np.abs(np.diff(places, axis=0)).sum(axis=1) == 1).all()
    processes = np.vectorize(lambda d: d.process_index)(grid)
    for process in np.unique(processes):
        own = processes == process
        rows, columns = np.nonzero(own.any(axis=1))[0], np.nonzero(own.any(axis=0))[0]
        assert np.ptp(rows) + 1 == len(rows) and np.ptp(columns) + 1 == len(columns)
        assert own.sum() == len(rows) * len(columns)


@pytest.mark.parametrize("name", SLICES)
def test_every_power_of_two_makes_a_mesh(name):
    devices = SLICES[name]
    per_slice = len(devices) // len({d.slice_index for d in devices})
    for model in [2**i for i in range(10) if per_slice % 2**i == 0]:
        grid = device_grid(devices, model)
        assert grid.shape == (len(devices) // model, model)
        check(grid, devices)
        slices = [row[0].slice_index for row in grid]
        assert slices == sorted(slices)


def test_a_model_axis_fills_hosts_before_it_leaves_them():
    for model, hosts in ((2, 1), (4, 1), (8, 2), (16, 4)):
        for row in device_grid(SLICES["v5e-64"], model):
            assert len({d.process_index for d in row}) == hosts


def test_devices_without_places_stay_in_the_order_of_their_hosts():
    cards = [Card(i, i // 4) for i in range(8)]
    grid = device_grid(cards[::-1], 2)
    assert [d.id for d in grid.flat] == list(range(8))
    odd = SLICES["v5e-16"][:7]  # a part of a slice that fills no box
    assert {d.id for d in device_grid(odd, 1).flat} == {d.id for d in odd}


def test_a_model_axis_that_cuts_across_slices_or_hosts():
    with pytest.raises(UserError, match="32 model partitions would span slices, of 16.*divisor"):
        device_grid(SLICES["two of v5e-16"], 32)
    with pytest.raises(UserError, match="3 model.* share hosts, of 4.*multiple of 4"):
        device_grid(SLICES["v5p 2x2x3"], 3)
