"""DePT: the update of the text by hand, its gradient, padding, and texts of other lengths."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
import toy_start

from mpt_jax import prompts
from mpt_jax.configuration import config
from mpt_jax.distillation import Distillation
from mpt_jax.errors import UserError
from mpt_jax.methods import dept
from mpt_jax.methods.base import FROZEN
from mpt_jax.methods.prompt_tuning import PromptTuning

KEY = jax.random.key(0)
LENGTH, RANK, INPUTS = 4, 2, 6
BATCH = toy.batch([0, 1, 2, 1])


def _bank(num_tasks=3, width=16, inputs=INPUTS, seed=0):
    rng = np.random.default_rng(seed)
    shapes = dept.DePT(LENGTH, RANK, inputs).bank_shapes(num_tasks, width)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def _text(embedded):
    return prompts.Text(jnp.asarray(embedded), jnp.ones(embedded.shape[:2], bool))


@pytest.mark.parametrize("length", [3, INPUTS, 9])
def test_the_text_and_its_gradient_are_those_of_the_formula(length):
    bank, ids = _bank(), np.array([2, 0, 2])
    rng = np.random.default_rng(1)
    embedded, pushed = rng.normal(size=(2, 3, length, 16)).astype(np.float32)

    def embed(bank):
        return dept.embed_text(bank, jnp.asarray(ids), _text(embedded))

    found, pull = jax.vjp(embed, bank)
    (gradients,) = pull(jnp.asarray(pushed))
    factor, seen = 8 / np.sqrt(RANK), min(length, INPUTS)
    wanted = {name: np.zeros_like(leaf) for name, leaf in bank.items()}
    for row, text, task, push in zip(found, embedded, ids, pushed, strict=True):
        a, b = bank["task_a"][task][:seen], bank["task_b"][task]
        np.testing.assert_allclose(row[:seen], text[:seen] + factor * a @ b, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(row[seen:], text[seen:])
        wanted["task_a"][task][:seen] += factor * push[:seen] @ b.T
        wanted["task_b"][task] += factor * a.T @ push[:seen]
    for name, leaf in wanted.items():
        np.testing.assert_allclose(gradients[name], leaf, rtol=1e-4, atol=1e-4)


def test_the_text_keeps_its_dtype():
    text = _text(np.ones((1, 3, 16), np.float32).astype(jnp.bfloat16))
    assert dept.embed_text(_bank(), jnp.asarray([0]), text).dtype == jnp.bfloat16


def test_the_start_is_the_released_one_and_leaves_the_text_alone():
    method = dept.DePT(prompt_length=5, rank=30, input_length=256)
    bank = method.start(toy_start.start(("a",)), KEY)["prompt_bank"]
    assert {name: leaf.shape for name, leaf in bank.items()} == method.bank_shapes(1, 6)
    assert 0.99 * 30**-0.5 < np.abs(bank["task_a"]).max() <= np.float32(30**-0.5)
    assert not bank["task_b"].any()
    embedded = np.random.default_rng(0).normal(size=(2, 7, 6)).astype(np.float32)
    found = dept.embed_text(bank, jnp.asarray([0, 0]), _text(embedded))
    np.testing.assert_array_equal(found, embedded)


def test_the_update_is_as_long_as_the_longest_input_of_a_run():
    lengths = "TASK_FEATURE_LENGTHS={'inputs': 9, 'targets': 4}"
    config.parse(["gin/mpt_target.gin", "gin/methods/dept.gin"], [lengths, "PROMPT_LENGTH=7"])
    method = config.call("mpt_jax.methods.dept", "DePT")
    assert (method.input_length, method.prompt_length, method.rank) == (9, 7, 30)


@pytest.mark.parametrize("field", ["prompt_length", "rank", "input_length"])
def test_sizes_below_one(field):
    with pytest.raises(UserError, match=rf"DePT\.{field} must be >= 1, not 0"):
        dataclasses.replace(dept.DePT(), **{field: 0})


def test_scores_are_those_of_a_backbone_with_the_update_in_its_embedding():
    """The tokens are all different and in no target, so that each row is of one position."""
    model, bank = toy.model(dept.DePT(LENGTH, RANK, INPUTS)), _bank()
    tokens = np.arange(300, 300 + INPUTS, dtype=np.int32)
    batch = {**toy.batch([1]), "encoder_input_tokens": tokens[None]}
    found = jax.jit(model.score_batch)({**toy.backbone(), "prompt_bank": bank}, batch)

    table = np.array(toy.backbone()["token_embedder"]["embedding"])
    table[tokens] += 8 / np.sqrt(RANK) * bank["task_a"][1] @ bank["task_b"][1]
    params = {**toy.backbone(), "token_embedder": {"embedding": table}}
    params["prompt_bank"] = {"task_prompts": bank["task_prompts"]}
    plain = toy.model(PromptTuning(prompt_length=LENGTH))
    np.testing.assert_allclose(found, jax.jit(plain.score_batch)(params, batch), rtol=1e-5)


def test_teachers_read_the_text_as_it_is():
    """A student whose prompts are the teachers' differs from them by its update alone."""
    teachers = Distillation("unused", weight=0.9, hidden_states=("encoder/final",))
    model, bank = toy.model(dept.DePT(LENGTH, RANK, INPUTS), distillation=teachers), _bank()
    params = {**toy.backbone(), "teacher": {"task_prompts": bank["task_prompts"]}}
    assert model.param_labels({"teacher": params["teacher"]})["teacher"]["task_prompts"] == FROZEN
    loss = jax.jit(lambda bank: model.loss_fn({**params, "prompt_bank": bank}, BATCH, None)[1])
    for same, update in ((True, 0 * bank["task_b"]), (False, bank["task_b"])):
        found = loss({**bank, "task_b": update})
        for name in ("loss_logits", "loss_hidden"):
            assert (abs(float(found[name].compute())) < 1e-6) == same, name


def test_padding_changes_nothing():
    """Neither how much there is of it, nor what the update does there."""
    model = toy.model(dept.DePT(LENGTH, RANK, 9))
    bank, batch = _bank(inputs=9), toy.batch([0, 1, 2, 1])
    batch["encoder_input_tokens"][:, 4:] = 0
    score = jax.jit(model.score_batch)
    found = score({**toy.backbone(), "prompt_bank": bank}, batch)
    wider = {
        **batch,
        "encoder_input_tokens": np.pad(batch["encoder_input_tokens"], ((0, 0), (0, 6))),
    }
    other = {**bank, "task_a": bank["task_a"].copy()}
    other["task_a"][:, 4:] += 5
    for changed, tokens in ((bank, wider), (other, batch)):
        again = score({**toy.backbone(), "prompt_bank": changed}, tokens)
        np.testing.assert_allclose(again, found, rtol=1e-5)
