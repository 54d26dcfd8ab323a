"""Where parameters come from, with a stand-in model that shows what it was asked."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mpt_jax.engine import initialize
from mpt_jax.engine.initialize import (
    RestoreCheckpointConfig,
    check_backbone_is_there,
    initial_params,
)
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.errors import UserError

SHAPES = {"encoder_input_tokens": (8, 4)}
KEY = jax.random.key(0)
FILE = np.arange(32, dtype=np.float32).reshape(4, 8)


class Model:
    """A backbone of one kernel [T, 8], and a bank that `start` draws."""

    def __init__(self, needs_backbone=False):
        self.method = types.SimpleNamespace(needs_backbone=needs_backbone)

    def get_initial_variables(self, rng, input_shapes, input_types=None):
        kernel = jax.random.normal(rng, (input_shapes["encoder_input_tokens"][1], 8))
        return {"params": {"encoder": {"kernel": kernel}, "bank": {"shared": jnp.zeros((3, 8))}}}

    def param_axes(self, params):
        return {"encoder": {"kernel": ("embed", "mlp")}, "bank": {"shared": ("rank", "embed")}}

    def param_labels(self, params):
        return {"encoder": {"kernel": "frozen"}, "bank": {"shared": "shared"}}


@pytest.fixture(autouse=True, name="loaded")
def _loaded(monkeypatch):
    """What was read, (path, shape, dtype), of a file that is not there."""
    found = []

    def load_backbone(path, shapes, shardings):
        kernel = shapes["encoder"]["kernel"]
        found.append((path, kernel.shape, kernel.dtype))
        return {"encoder": {"kernel": jax.device_put(FILE, shardings["encoder"]["kernel"])}}

    def start(model, params, rng):
        return {"encoder": params["encoder"], "bank": {"shared": jax.random.normal(rng, (3, 8))}}

    monkeypatch.setattr(initialize, "load_backbone", load_backbone)
    monkeypatch.setattr(initialize, "start", start)
    return found


def _initial(model, path=None, num_partitions=1):
    restore = None if path is None else RestoreCheckpointConfig(path, dtype="bfloat16")
    return initial_params(model, PjitPartitioner(num_partitions), restore, SHAPES, KEY)


@pytest.mark.parametrize("num_partitions", [1, 2, 4])
def test_random_weights_do_not_depend_on_the_mesh(num_partitions):
    params = _initial(Model(), num_partitions=num_partitions)
    kernel = params["encoder"]["kernel"]
    init_rng, start_rng = jax.random.split(KEY)
    np.testing.assert_array_equal(kernel, jax.random.normal(init_rng, (4, 8)))
    assert kernel.addressable_shards[0].data.shape == (4, 8 // num_partitions)
    np.testing.assert_array_equal(params["bank"]["shared"], jax.random.normal(start_rng, (3, 8)))
    assert params["bank"]["shared"].sharding.is_fully_replicated


@pytest.mark.parametrize("needs_backbone", [False, True])
def test_a_path_is_read_and_the_method_adds_its_part(tmp_path, needs_backbone, loaded):
    params = _initial(Model(needs_backbone), str(tmp_path), num_partitions=2)
    assert loaded == [(str(tmp_path), (4, 8), "bfloat16")]
    np.testing.assert_array_equal(params["encoder"]["kernel"], FILE)
    assert params["encoder"]["kernel"].addressable_shards[0].data.shape == (4, 4)
    assert len(params["bank"]["shared"].sharding.device_set) == 4


@pytest.mark.parametrize("path", [None, ""])
def test_a_method_on_a_frozen_backbone_needs_one(path):
    with pytest.raises(UserError, match="INITIAL_CHECKPOINT_PATH is not set"):
        check_backbone_is_there(Model(needs_backbone=True), RestoreCheckpointConfig(path))
    check_backbone_is_there(Model(), RestoreCheckpointConfig(path))


def test_a_dimension_that_does_not_divide_is_refused_before_anything_is_read(tmp_path, loaded):
    model = Model()
    model.param_axes = lambda params: {
        "encoder": {"kernel": ("embed", None)},
        "bank": {"shared": ("mlp", None)},
    }
    with pytest.raises(UserError, match="bank/shared.*does not divide"):
        _initial(model, str(tmp_path), num_partitions=2)
    assert not loaded


@pytest.mark.parametrize("needs_backbone", [False, True])
def test_a_path_that_does_not_exist_is_named(tmp_path, needs_backbone):
    missing = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match=f"INITIAL_CHECKPOINT_PATH '{missing}' does not exist"):
        check_backbone_is_there(Model(needs_backbone), RestoreCheckpointConfig(missing))
