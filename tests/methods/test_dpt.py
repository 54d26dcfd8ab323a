"""DPT: prompts and gradients in closed form, and the published start."""

import jax
import jax.numpy as jnp
import numpy as np
import toy_start

from mpt_jax.methods import dpt
from mpt_jax.product import product_file

KEY = jax.random.key(0)


def _bank(num_tasks=3, length=4, rank=2, width=6):
    rng = np.random.default_rng(0)
    shapes = dpt.DPT(length, rank).bank_shapes(num_tasks, width)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_prompts_and_gradients_are_those_of_a_matrix_product():
    bank, ids = _bank(), np.array([2, 0, 2])
    found, pull = jax.vjp(lambda bank: dpt.compose(bank, jnp.asarray(ids)), bank)
    pushed = np.random.default_rng(1).normal(size=found.shape).astype(np.float32)
    (gradients,) = pull(jnp.asarray(pushed))
    wanted = {name: np.zeros_like(leaf) for name, leaf in bank.items()}
    for row, task, push in zip(found, ids, pushed, strict=True):
        a, b = bank["task_a"][task], bank["task_b"][task]
        np.testing.assert_allclose(row, a @ b, rtol=1e-5, atol=1e-6)
        wanted["task_a"][task] += push @ b.T
        wanted["task_b"][task] += a.T @ push
    for name, leaf in wanted.items():
        np.testing.assert_allclose(gradients[name], leaf, rtol=1e-5, atol=1e-5)
        assert not gradients[name][1].any()  # the task that no example has


def test_both_factors_start_uniform_in_one_half():
    method = dpt.DPT(prompt_length=100, rank=10)
    bank = method.start(toy_start.start(("a",)), KEY)["prompt_bank"]
    assert {name: leaf.shape for name, leaf in bank.items()} == method.bank_shapes(1, 6)
    for leaf in bank.values():
        assert 0.45 < np.abs(leaf).max() <= 0.5
    np.testing.assert_allclose(np.var(bank["task_a"]), 1 / 12, rtol=0.1)


def test_the_product_keeps_the_factors(tmp_path):
    bank = _bank()
    toy_start.write(tmp_path, {"task_prompts": np.zeros((3, 4, 6), np.float32)}, method="dpt")
    _, info = product_file.load(str(tmp_path))
    dpt.DPT(4, 2).save(str(tmp_path), {"prompt_bank": bank}, None, info)
    loaded, _ = product_file.load(str(tmp_path))
    assert loaded.keys() == {"task_a", "task_b"}
    jax.tree.map(np.testing.assert_array_equal, dict(loaded), bank)
