"""The measure of a difference, against numpy."""

import jax.numpy as jnp
import numpy as np
import rounding

from mpt_jax.engine.step import TrainState


def state(seed):
    random = np.random.default_rng(seed)
    leaves = {"a": random.normal(size=(30, 40)), "b": {"c": random.normal(size=(500,))}}
    trainable = {"a": jnp.float32(leaves["a"]), "b": {"c": jnp.float32(leaves["b"]["c"])}}
    return TrainState(jnp.zeros((), jnp.int32), trainable, ())


def test_the_distance_is_relative_to_the_first():
    one, other = state(0), state(1)
    flat = [
        np.concatenate([np.ravel(s.trainable["a"]), s.trainable["b"]["c"]]) for s in (one, other)
    ]
    expected = np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[0])
    np.testing.assert_allclose(rounding.distance(one, other), expected, rtol=1e-6)
    assert rounding.distance(one, one) == 0


def test_a_start_is_nudged_by_one_part_in_ten_million_everywhere():
    one = state(0)
    other = rounding.nudged(one)
    assert 0.5e-7 < rounding.distance(one, other) < 2e-7
    changed = np.asarray(one.trainable["a"] != other.trainable["a"]).mean()
    assert changed > 0.5  # the others are nudged by less than half of their last bit
