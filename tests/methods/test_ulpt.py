"""ULPT: the frozen matrix bit by bit, prompts and gradients in closed form, and lost seeds."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
import toy_start

from mpt_jax.engine import initialize, saving
from mpt_jax.errors import UserError
from mpt_jax.methods import ulpt
from mpt_jax.methods.restored import Restored
from mpt_jax.product import product_file

KEY = jax.random.key(0)
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(key, counts):
    """Threefry-2x32 of 20 rounds (Salmon et al. 2011) of two counters, in Python's integers."""
    mask, keys = 2**32 - 1, (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    x, y = (counts[0] + keys[0]) & mask, (counts[1] + keys[1]) & mask
    for block in range(5):
        for rotation in ROTATIONS[block % 2]:
            x = (x + y) & mask
            y = ((y << rotation) | (y >> (32 - rotation))) & mask ^ x
        x = (x + keys[(block + 1) % 3]) & mask
        y = (y + keys[(block + 2) % 3] + block + 1) & mask
    return x, y


def test_the_generator_of_this_test_is_threefry():
    """Known answers of Random123."""
    assert threefry((0, 0), (0, 0)) == (0x6B200159, 0x99BA4EFE)
    assert threefry((2**32 - 1,) * 2, (2**32 - 1,) * 2) == (0x1CB996FC, 0xBB002BE7)


@pytest.mark.parametrize(("seed", "rank", "width"), [(0, 2, 6), (7, 3, 4), (2**24 - 1, 1, 2)])
def test_the_matrix_is_a_counter_hashed_by_threefry(seed, rank, width):
    half = rank * width // 2
    pairs = [threefry((0, seed), (i, i + half)) for i in range(half)]
    bits = [x for x, _ in pairs] + [y for _, y in pairs]
    bound = np.float32(math.sqrt(6 / (rank + width)))
    wanted = [bound * np.float32((x >> 8) / 2**23 - 1) for x in bits]
    found = ulpt.projection(seed, rank, width)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, np.reshape(np.array(wanted, np.float32), (rank, width)))


def test_the_matrix_of_a_product_stays_what_it_was():
    found = ulpt.projection(0, 64, 768)
    pinned = {(0, 0): "-0x1.0a30b8p-5", (0, 1): "0x1.05a062p-5", (63, 767): "0x1.8792eep-5"}
    for place, value in pinned.items():
        assert float(found[place]) == float.fromhex(value)


def test_the_matrix_does_not_depend_on_settings_of_jax_or_on_compilation():
    found = ulpt.projection(3, 4, 6)
    np.testing.assert_array_equal(jax.jit(ulpt.projection, static_argnums=(1, 2))(3.0, 4, 6), found)
    with jax.threefry_partitionable(not jax.config.jax_threefry_partitionable):
        np.testing.assert_array_equal(ulpt.projection(3, 4, 6), found)


def test_the_matrix_is_uniform_within_glorots_bound():
    found, bound = np.asarray(ulpt.projection(0, 64, 768)), math.sqrt(6 / (64 + 768))
    assert np.abs(found).max() <= np.float32(bound)
    np.testing.assert_allclose(found.var(), bound**2 / 3, rtol=0.02)
    assert abs(found.mean()) < 0.01 * bound
    assert np.linalg.matrix_rank(found) == 64


def _bank(num_tasks=3, length=4, rank=2, width=6, seed=5):
    rng = np.random.default_rng(0)
    shapes = ulpt.ULPT(length, rank).bank_shapes(num_tasks, width)
    bank = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return {**bank, "projection_seed": np.float32(seed)}


def test_prompts_and_gradients_are_the_papers():
    bank, ids = _bank(), np.array([2, 0, 2])
    lift = np.asarray(ulpt.projection(5, 2, 6), np.float64)
    found, pull = jax.vjp(lambda bank: ulpt.compose(bank, jnp.asarray(ids)), bank)
    pushed = np.random.default_rng(1).normal(size=found.shape).astype(np.float32)
    (gradients,) = pull(jnp.asarray(pushed))
    wanted = {name: np.zeros_like(leaf) for name, leaf in bank.items()}
    for row, task, push in zip(found, ids, pushed, strict=True):
        z, scale = bank["task_z"][task], bank["task_scale"][task]
        np.testing.assert_allclose(
            row, (z @ lift) * scale + bank["task_shift"][task], rtol=1e-5, atol=1e-5
        )
        wanted["task_z"][task] += (push * scale) @ lift.T
        wanted["task_scale"][task] += (push * (z @ lift)).sum(axis=0)
        wanted["task_shift"][task] += push.sum(axis=0)
    for name in ("task_z", "task_scale", "task_shift"):
        np.testing.assert_allclose(gradients[name], wanted[name], rtol=1e-5, atol=1e-5)


def test_the_start_is_the_released_one():
    bank = ulpt.ULPT(100, 64, seed=9).start(toy_start.start(("a",)), KEY)["prompt_bank"]
    assert float(bank["projection_seed"]) == 9
    np.testing.assert_allclose(np.std(bank["task_z"]), 1, rtol=0.05)
    assert (bank["task_scale"] == 1).all() and (bank["task_shift"] == 0).all()


@pytest.mark.parametrize("seed", [-1, 2**24])
def test_a_seed_that_a_bank_cannot_hold(seed):
    with pytest.raises(UserError, match="seed must be from 0 to 16,777,215"):
        ulpt.ULPT(seed=seed)


def test_a_product_that_lost_its_seed_or_a_part_is_refused_when_it_is_read(tmp_path):
    model = toy.model(ulpt.ULPT(prompt_length=4, rank=2))
    params = initialize.start(model, toy.backbone(), KEY)
    saving.save(model, str(tmp_path), params, step=1, results={}, feature_lengths={})
    bank, info = product_file.load(str(tmp_path))
    Restored(str(tmp_path)).added_shapes(3, toy.backbone())
    for lost, message in (
        ("projection_seed", "without its projection_seed"),
        ("task_z", "damaged"),
    ):
        left = {name: leaf for name, leaf in bank.items() if name != lost}
        product_file.save(str(tmp_path), left, info)
        with pytest.raises(UserError, match=message):
            Restored(str(tmp_path)).added_shapes(3, toy.backbone())
    thin = {**bank, "task_scale": bank["task_scale"][:, :-1]}
    product_file.save(str(tmp_path), thin, info)
    with pytest.raises(UserError, match="damaged, the method 'ulpt' makes no prompts"):
        Restored(str(tmp_path)).added_shapes(3, toy.backbone())
