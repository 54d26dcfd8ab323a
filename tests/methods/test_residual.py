"""Residual prompt tuning: the network by hand, and products that need it no longer."""

import jax
import jax.numpy as jnp
import numpy as np
import toy
import toy_start

from mpt_jax import initializers
from mpt_jax.engine import initialize, saving
from mpt_jax.methods import residual
from mpt_jax.methods.restored import Restored
from mpt_jax.product import product_file, tasks

KEY = jax.random.key(0)


def _bank(num_tasks=2, length=3, inner=5, width=6):
    rng = np.random.default_rng(0)
    shapes = residual.ResidualPromptTuning(length, inner).bank_shapes(num_tasks, width)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def _by_hand(bank, task):
    """The prompt of a task, position by position, in float64."""
    own = {name: np.asarray(leaf[task], np.float64) for name, leaf in bank.items()}
    rows = []
    for start in own["task_prompts"]:
        inner = np.maximum(start @ own["task_down"] + own["task_down_bias"], 0)
        out = inner @ own["task_up"] + own["task_up_bias"]
        normed = (out - out.mean()) / np.sqrt(out.var() + 1e-5)
        rows.append(start + normed * own["task_norm_scale"] + own["task_norm_bias"])
    return np.array(rows)


def test_the_prompt_is_the_papers():
    bank, ids = _bank(), [1, 0, 1]
    found = residual.compose(bank, jnp.asarray(ids))
    for row, task in zip(found, ids, strict=True):
        np.testing.assert_allclose(row, _by_hand(bank, task), rtol=1e-5, atol=1e-5)


def test_folded_prompts_are_those_of_training_to_six_digits():
    bank, ids = _bank(), jnp.asarray([1, 0])
    folded = residual.ResidualPromptTuning(3, 5).stored(bank)
    assert folded.keys() == {"task_prompts"}
    np.testing.assert_allclose(
        residual.compose(folded, ids), residual.compose(bank, ids), rtol=1e-6, atol=1e-6
    )


def test_the_start_is_the_released_one():
    method = residual.ResidualPromptTuning(100, 400)
    start = toy_start.start(("a",))
    bank = method.start(start, KEY)["prompt_bank"]
    assert {name: leaf.shape for name, leaf in bank.items()} == method.bank_shapes(1, 6)
    embedding = {tuple(row) for row in start.embedding}
    assert {tuple(np.asarray(row)) for row in bank["task_prompts"][0]} <= embedding
    for name, fan_in in (("down", 6), ("down_bias", 6), ("up", 400), ("up_bias", 400)):
        leaf, bound = np.abs(bank[f"task_{name}"]), fan_in**-0.5
        assert 0.5 * bound < leaf.max() <= np.float32(bound), name
    assert (bank["task_norm_scale"] == 1).all() and (bank["task_norm_bias"] == 0).all()


def test_the_product_is_one_of_whole_prompts(tmp_path):
    model = toy.model(residual.ResidualPromptTuning(prompt_length=4, bottleneck=5))
    params = initialize.start(model, toy.backbone(), KEY)
    saving.save(model, str(tmp_path), params, step=1, results={}, feature_lengths={})
    bank, info = product_file.load(str(tmp_path))
    assert {name: leaf.shape for name, leaf in bank.items()} == {"task_prompts": (3, 4, 16)}
    assert info.method == "residual"
    tasks.check_expressible(bank, info)  # other programs can read it
    restored = Restored(str(tmp_path))
    batch = toy.batch([0, 1, 2, 0])
    np.testing.assert_allclose(
        toy.model(restored).embed_prompts({**toy.backbone(), "prompt_bank": bank}, batch),
        model.embed_prompts(params, batch),
        rtol=1e-6,
        atol=1e-6,
    )


def test_another_run_may_start_from_it(tmp_path):
    model = toy.model(residual.ResidualPromptTuning(prompt_length=4, bottleneck=5))
    params = initialize.start(model, toy.backbone(), KEY)
    saving.save(model, str(tmp_path), params, step=1, results={}, feature_lengths={})
    spot = residual.ResidualPromptTuning(
        4, 5, initializers.FromPromptFile(str(tmp_path), task="qa")
    )
    started = initialize.start(toy.model(spot), toy.backbone(), KEY)["prompt_bank"]["task_prompts"]
    for prompt in started:
        np.testing.assert_allclose(prompt, residual.fold(params["prompt_bank"])[1], rtol=1e-6)
