"""Composition of prompt banks against plain loops, and the prompted network's parameter tree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpt_jax import prompts
from mpt_jax.errors import UserError

K, P, D = 3, 4, 5


def _bank(rank, rng):
    return {
        "shared": rng.normal(size=(P, D)).astype(np.float32),
        "task_u": rng.normal(size=(K, P, rank)).astype(np.float32),
        "task_v": rng.normal(size=(K, rank, D)).astype(np.float32),
    }


@settings(max_examples=10, deadline=None)
@given(rank=st.integers(1, 4), task_ids=st.lists(st.integers(0, K - 1), min_size=1, max_size=6))
def test_compose_equals_a_loop_over_examples_and_entries(rank, task_ids):
    bank = _bank(rank, np.random.default_rng(0))
    found = prompts.compose(bank, jnp.asarray(task_ids))
    for row, k in zip(found, task_ids, strict=True):
        for p in range(P):
            for d in range(D):
                weight = sum(bank["task_u"][k, p, r] * bank["task_v"][k, r, d] for r in range(rank))
                np.testing.assert_allclose(row[p, d], bank["shared"][p, d] * weight, rtol=2e-5)


def test_factors_of_ones_give_exactly_the_shared_prompt():
    bank = _bank(1, np.random.default_rng(1))
    bank |= {"task_u": np.ones((K, P, 1), np.float32), "task_v": np.ones((K, 1, D), np.float32)}
    found = prompts.compose(bank, jnp.arange(K))
    for row in np.asarray(found):
        np.testing.assert_array_equal(row, bank["shared"])


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_unit_factors_start_every_task_at_the_shared_prompt(rank):
    bank = {"shared": np.random.default_rng(2).normal(size=(P, D)).astype(np.float32)}
    bank |= prompts.unit_factors(K, P, D, rank, jax.random.key(0))
    found = np.asarray(prompts.compose(bank, jnp.arange(K)))
    np.testing.assert_array_equal(found, np.broadcast_to(bank["shared"], (K, P, D)))


def test_unit_factors_of_higher_rank_have_a_gradient_in_every_component():
    bank = {"shared": jnp.ones((P, D)), **prompts.unit_factors(K, P, D, 3, jax.random.key(0))}
    grads = jax.grad(lambda b: jnp.sum(prompts.compose(b, jnp.arange(K)) ** 3))(bank)
    assert np.all(np.any(np.asarray(grads["task_u"]) != 0, axis=(0, 1)))


def test_one_prompt_for_all_and_one_prompt_per_task():
    rng = np.random.default_rng(3)
    shared = rng.normal(size=(P, D)).astype(np.float32)
    whole = rng.normal(size=(K, P, D)).astype(np.float32)
    ids = jnp.asarray([2, 0])
    np.testing.assert_array_equal(prompts.compose({"shared": shared}, ids), [shared, shared])
    np.testing.assert_array_equal(
        prompts.compose({"task_prompts": whole}, ids), [whole[2], whole[0]]
    )


def test_mean_factors_average_u_and_v_separately():
    bank = _bank(2, np.random.default_rng(4))
    mean = prompts.mean_factors(bank)
    np.testing.assert_array_equal(mean["shared"], bank["shared"])
    np.testing.assert_allclose(mean["task_u"][0], sum(bank["task_u"]) / K, rtol=1e-6)
    np.testing.assert_allclose(mean["task_v"][0], sum(bank["task_v"]) / K, rtol=1e-6)


def test_select_task_names_the_nearest_task():
    bank = _bank(1, np.random.default_rng(5))
    one = prompts.select_task(bank, ("nli", "qa", "sst"), "qa")
    np.testing.assert_array_equal(one["task_u"], bank["task_u"][1:2])
    with pytest.raises(UserError, match="'nlu'.*Did you mean 'nli'"):
        prompts.select_task(bank, ("nli", "qa", "sst"), "nlu")


def test_bank_size_is_what_the_paper_counts():
    shapes = prompts.factorized_shapes(num_tasks=1, length=100, width=768, rank=1)
    assert sum(np.prod(shape) for shape in shapes.values()) == 77_668
    shapes = prompts.factorized_shapes(num_tasks=8, length=100, width=768, rank=1)
    assert sum(np.prod(shape) for shape in shapes.values()) / 8 == 10_468
