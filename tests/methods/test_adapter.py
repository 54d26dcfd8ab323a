"""Adapters: Hugging Face's T5 with the same adapters by hooks, parameter counts, what moves."""

import dataclasses

import adapted_golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import t5_golden
import toy
import toy_run

from mpt_jax.engine import initialize
from mpt_jax.errors import UserError
from mpt_jax.methods.adapter import Adapter

KEY = jax.random.key(0)
METHOD = Adapter(reduction=4)


@pytest.mark.parametrize("version", t5_golden.VERSIONS)
def test_as_adapters_in_hugging_faces_t5(version):
    adapted_golden.check(Adapter(reduction=3), version, "adapter", "adapted")


def test_it_starts_near_the_backbone():
    model = toy.model(METHOD)
    params = initialize.start(model, toy.backbone(), KEY)
    kernels = [leaf for leaf in jax.tree.leaves(params["adapter"]) if leaf.ndim == 2]
    assert len(kernels) == 2 * 8  # self-attention and feed-forward of 2 + 2 layers
    spread = np.concatenate([np.ravel(leaf) for leaf in kernels])
    assert 0.007 < spread.std() < 0.011 and np.abs(spread).max() <= 0.0228  # 2 std of a cut normal
    biases = [leaf for leaf in jax.tree.leaves(params["adapter"]) if leaf.ndim == 1]
    assert len(biases) == len(kernels) and not any(leaf.any() for leaf in biases)


def test_only_adapters_and_layer_norms_move():
    model = toy.model(METHOD, config=toy.ONE_LAYER)
    # A copy: a step reuses the buffers of what trains, here some of the backbone's.
    params = initialize.start(model, jax.tree.map(jnp.array, toy.one_layer()), KEY)
    before = jax.tree.map(np.array, params)
    run = toy_run.Run(model, params)
    run.step(toy.batch([0, 1, 2, 0]))
    after = run.trainable
    assert after.keys() == {"adapter", "encoder", "decoder"}
    for stack in ("encoder", "decoder"):
        names = {path[-2:] for path, _ in _flat(after[stack])}
        assert {kind for _, kind in names} == {"scale"}
    assert "encoder_norm" in after["encoder"] and "decoder_norm" in after["decoder"]
    for path, leaf in _flat(after):
        old = before
        for name in path:
            old = old[name]
        assert not np.array_equal(leaf, old), path


def _flat(tree, path=()):
    if not isinstance(tree, dict):
        return [(path, tree)]
    return [item for name, child in tree.items() for item in _flat(child, (*path, name))]


@pytest.mark.parametrize("reduction", [0, 17])
def test_a_bottleneck_of_nothing(reduction):
    with pytest.raises(UserError, match=f"reduction = {reduction} leaves no bottleneck.*1 to 16"):
        initialize.start(toy.model(Adapter(reduction)), toy.backbone(), KEY)


def test_rematerialised_layers_are_adapted_too():
    batch = toy.batch([0, 1, 2, 0])
    plain = toy.model(METHOD, config=toy.ONE_LAYER)
    remat = dataclasses.replace(plain, config=dataclasses.replace(toy.ONE_LAYER, remat=True))
    params = initialize.start(plain, toy.one_layer(), KEY)
    params["adapter"] = jax.tree.map(lambda leaf: leaf + 0.1, params["adapter"])

    def gradient(model):
        def loss(adapter):
            return model.loss_fn({**params, "adapter": adapter}, batch, None)[0]

        return jax.jit(jax.grad(loss))(params["adapter"])

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        gradient(plain),
        gradient(remat),
    )
