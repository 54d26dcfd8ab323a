"""The two distillation losses against numpy and closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest

from mpt_jax import distillation
from mpt_jax.errors import UserError


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_kl_equals_numpy_and_leaves_padding_out(temperature):
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, 2, 3, 7))
    weights = np.array([[1, 1, 0], [1, 0, 0]])
    p, q = _softmax(teacher / temperature), _softmax(student / temperature)
    expected = temperature**2 * ((p * np.log(p / q)).sum(-1) * weights).sum()
    found = distillation.kl_divergence(
        jnp.asarray(teacher), jnp.asarray(student), jnp.asarray(weights), temperature
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_kl_of_equal_logits_is_zero():
    logits = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3, 7)))
    assert distillation.kl_divergence(logits, logits, jnp.ones((2, 3)), 1.0) == 0.0


def test_squared_difference_equals_numpy_and_leaves_padding_out():
    rng = np.random.default_rng(2)
    teacher, student = rng.normal(size=(2, 2, 4, 5))
    valid = np.array([[1, 1, 0, 0], [1, 1, 1, 0]])
    expected = (((teacher - student) ** 2).mean(-1) * valid).sum()
    found = distillation.squared_difference(
        jnp.asarray(teacher), jnp.asarray(student), jnp.asarray(valid)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_select_states_lists_what_there_is():
    collected = {"encoder": {"final": (jnp.zeros((1, 2, 3)),), "layers_0": {"output": (1.0,)}}}
    assert list(distillation.select_states(collected, ["encoder/layers_0/output"])) == [
        "encoder/layers_0/output"
    ]
    with pytest.raises(UserError, match="encoder/last.*encoder/final, encoder/layers_0/output"):
        distillation.select_states(collected, ["encoder/last"])


@pytest.mark.parametrize("bad", [{"temperature": 0.0}, {"weight": -0.1}])
def test_bad_settings_are_named(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        distillation.Distillation(teacher_prompts="x", **bad)
