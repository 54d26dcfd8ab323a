"""A backbone restored in bfloat16: what trains, and its moments, are float32 from the file on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
import toy_run
from flax import traverse_util

from mpt_jax.engine import optimizers
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.initialize import RestoreCheckpointConfig, initial_params
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.methods.adapter import Adapter
from mpt_jax.methods.bitfit import BitFit
from mpt_jax.methods.full import FullTraining

RATE, STEPS = 3e-4, 10
METHODS = [FullTraining(), Adapter(reduction=4), BitFit()]


@pytest.fixture(name="path", scope="module")
def _path(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("backbone"))
    toy.save(folder)
    return folder


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_only_what_is_frozen_is_rounded(path, method):
    model = toy.model(method, config=toy.ONE_LAYER)
    model = dataclasses.replace(model, optimizer_def=optimizers.adamw(RATE))
    restore = RestoreCheckpointConfig(path, dtype="bfloat16")
    partitioner = PjitPartitioner(devices=jax.devices()[:1])
    params = initial_params(model, partitioner, restore, toy.SHAPES, jax.random.key(0))
    trainable, frozen = map(_flat, step_lib.split(params, model.param_labels(params)))
    assert {leaf.dtype for leaf in trainable.values()} == {np.dtype("float32")}
    assert {leaf.dtype for leaf in frozen.values()} <= {jnp.dtype("bfloat16")}
    in_file = _flat(toy.one_layer())
    for name in trainable.keys() & in_file.keys():
        np.testing.assert_array_equal(trainable[name], in_file[name])
    start = {name: np.asarray(leaf, np.float64) for name, leaf in trainable.items()}
    # A copy of the parameters: a step reuses the buffers of what trains.
    run = toy_run.Run(model, jax.tree.map(jnp.array, params))
    moments = [leaf for leaf in jax.tree.leaves(run.state.opt_state) if leaf.ndim]
    assert {m.dtype for m in moments if m.dtype != jnp.int32} == {np.dtype("float32")}

    # The same steps by Adam in float64, on gradients at parameters that are float32 throughout.
    batch, key = toy.batch([0, 1, 2, 0]), jax.random.key(0)
    exact = {name: jnp.asarray(leaf, jnp.float32) for name, leaf in frozen.items()}

    @jax.jit
    def gradient(values):
        def loss(values):
            tree = traverse_util.unflatten_dict({**exact, **values}, sep="/")
            return model.loss_fn(tree, batch, key)[0]

        return jax.grad(loss)(values)

    values, first, second = dict(start), dict.fromkeys(start, 0.0), dict.fromkeys(start, 0.0)
    for count in range(1, STEPS + 1):
        run.step(batch)
        grads = gradient({n: jnp.asarray(leaf, jnp.float32) for n, leaf in values.items()})
        for name, grad in grads.items():
            grad = np.asarray(grad, np.float64)
            first[name] = 0.9 * first[name] + 0.1 * grad
            second[name] = 0.999 * second[name] + 0.001 * grad**2
            root = np.sqrt(second[name] / (1 - 0.999**count)) + 1e-8
            moved = first[name] / (1 - 0.9**count) / root + 1e-5 * values[name]
            values[name] = values[name] - RATE * moved
    for name, leaf in _flat(run.trainable).items():
        moved, wanted = leaf - start[name], values[name] - start[name]
        # The bias of a key moves nothing: Adam divides its gradient, rounding errors, by itself.
        assert name.endswith("/key/bias") or np.linalg.norm(moved - wanted) < 0.02 * np.linalg.norm(
            wanted
        ), name


def _flat(tree):
    return traverse_util.flatten_dict(dict(tree), sep="/")
