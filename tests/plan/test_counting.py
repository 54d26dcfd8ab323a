"""Counted FLOPs against the compiler's own count."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
import t5_golden
import toy

from mpt_jax.backbone.network import Transformer
from mpt_jax.engine.optimizers import FROZEN
from mpt_jax.methods.full import FullTraining
from mpt_jax.plan import counting


@pytest.mark.parametrize("version", t5_golden.VERSIONS)
def test_counted_flops_are_xla_s_count_less_the_elementwise_ones(version):
    config = dataclasses.replace(
        t5_golden.CONFIGS[version], emb_dim=256, head_dim=64, num_heads=6, mlp_dim=512
    )
    module, inputs, targets = Transformer(config), jnp.ones((2, 20), int), jnp.ones((2, 12), int)
    params = jax.eval_shape(module.init, jax.random.key(0), inputs, targets)["params"]
    compiled = jax.jit(module.apply).lower({"params": params}, inputs, targets).compile()
    counted = 2 * counting.forward_flops(config, length=20, targets=12)
    assert counted < compiled.cost_analysis()["flops"] < 1.02 * counted


@pytest.mark.parametrize(
    ("method", "distils", "expected"), [(None, 0, 2), (None, 1, 3), (FullTraining(), 0, 3)]
)
def test_a_frozen_matrix_needs_no_gradient(method, distils, expected):
    model = toy.model(method)
    shapes = jax.eval_shape(lambda: model.get_initial_variables(jax.random.key(0), toy.SHAPES))
    labels = model.param_labels(shapes["params"])
    assert counting.passes(labels, shapes["params"], bool(distils)) == expected
    assert (FROZEN in jax.tree.leaves(labels)) == (method is None)
