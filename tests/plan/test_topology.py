"""Names of slices, their devices with and without the compiler, and their meshes."""

import numpy as np
import pytest
from jax.sharding import Mesh

from mpt_jax.engine.device_grid import device_grid
from mpt_jax.errors import UserError
from mpt_jax.plan import topology


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v5d:8x8", "not known.*one of v4, v5e, v5p, v6e.*Did you mean 'v5e:8x8'"),
        ("v5e", "2 axes.*Known are v5e:2x2"),
        ("v5e:8x9", "even along the first two.*Did you mean 'v5e:8x8'"),
        ("v5e:32x32", "at most 16 chips"),
        ("v5p:4x4", "3 axes.*Did you mean 'v5p:4x4x8'"),
        ("v4:2x2x0", "3 axes"),
        ("v5e:" + "8x" * 10000, "20,004 characters"),
    ],
)
def test_an_unknown_slice_is_refused_with_the_nearest(name, message):
    with pytest.raises(UserError, match=message) as refusal:
        topology.parse(name)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 500


def test_slices_are_counted():
    assert topology.parse("v5e:8x8", slices=2).chips == 128
    with pytest.raises(UserError, match="--slices=0"):
        topology.parse("v5e:8x8", slices=0)


MESHES = [("v4:2x2x4", 1), ("v5e:2x4", 1), ("v5e:8x8", 1), ("v5p:4x4x4", 1), ("v6e:4x4", 2)]


@pytest.mark.parametrize(("name", "slices"), MESHES)
def test_stand_ins_are_the_slice_that_the_compiler_describes(name, slices, compiler, monkeypatch):
    described = topology.parse(name, slices)
    real = described.devices()
    monkeypatch.setattr(topology, "has_compiler", lambda: False)

    def hosts(devices):
        """The chips of every host of every slice."""
        found = {}
        for d in devices:
            place = (getattr(d, "slice_index", None) or 0, *d.coords)
            found.setdefault(d.process_index, set()).add(place)
        return sorted(map(sorted, found.values()))

    assert hosts(real) == hosts(described.devices())
    assert len(real) == described.chips


@pytest.mark.parametrize(("name", "slices"), MESHES)
def test_every_host_of_a_real_description_has_a_local_mesh(name, slices, compiler):
    devices = topology.parse(name, slices).devices()
    for model in (1, 2, 4, 8):
        mesh = Mesh(device_grid(devices, model), ("data", "model"))
        steps = np.array([[d.coords for d in row] for row in mesh.devices])
        assert (np.abs(np.diff(steps, axis=1)).sum(axis=2) == 1).all()
        for process in {d.process_index for d in devices}:
            assert mesh._local_mesh(process).size == 4  # jax raises where it is not a block
