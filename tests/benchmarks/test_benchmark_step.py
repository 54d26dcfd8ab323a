import dataclasses
import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import pytest
import t5_golden

from mpt_jax.backbone.network import Transformer

PATH = pathlib.Path(__file__).parents[2] / "benchmarks" / "step.py"


def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_step", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("version", t5_golden.VERSIONS)
def test_counted_flops_are_xla_s_count_less_the_elementwise_ones(version):
    config = dataclasses.replace(
        t5_golden.CONFIGS[version], emb_dim=256, head_dim=64, num_heads=6, mlp_dim=512
    )
    module, inputs, targets = Transformer(config), jnp.ones((2, 20), int), jnp.ones((2, 12), int)
    params = jax.eval_shape(module.init, jax.random.key(0), inputs, targets)["params"]
    compiled = jax.jit(module.apply).lower({"params": params}, inputs, targets).compile()
    counted = 2 * benchmark().forward_flops(config, length=20, targets=12)
    assert counted < compiled.cost_analysis()["flops"] < 1.02 * counted


@pytest.mark.parametrize(("size", "width"), [("mini", 128), ("t5_small", 512), ("t5_1_1_xl", 2048)])
def test_a_size_needs_no_files(size, width):
    assert benchmark().sizes(size).emb_dim == width
