"""How whole prompts start, and that a task's start does not depend on the other tasks."""

import jax
import numpy as np
import pytest
import toy
import toy_start

from mpt_jax import initializers
from mpt_jax.engine import initialize, saving
from mpt_jax.errors import UserError
from mpt_jax.methods.prompt_tuning import PromptTuning
from mpt_jax.methods.restored import Restored
from mpt_jax.product import product_file

KEY = jax.random.key(4)
WORDS = {"nli": ("yes", "no"), "qa": ("maybe",)}


def _bank(method, tasks=toy_start.TASKS):
    return method.start(toy_start.start(tasks, WORDS), KEY)["prompt_bank"]


def test_one_prompt_per_task_or_one_for_all():
    each, one = (PromptTuning(prompt_length=4, per_task=flag) for flag in (True, False))
    for method, shapes in (
        (each, {"task_prompts": (2, 4, toy_start.WIDTH)}),
        (one, {"shared": (4, toy_start.WIDTH)}),
    ):
        assert {name: leaf.shape for name, leaf in _bank(method).items()} == shapes
        assert method.bank_shapes(2, toy_start.WIDTH) == shapes
    assert each.independent_tasks and not one.independent_tasks


def test_each_task_has_its_own_draw_whichever_tasks_run_with_it():
    method = PromptTuning(prompt_length=4)
    nli, qa = _bank(method)["task_prompts"]
    assert not np.array_equal(nli, qa)
    np.testing.assert_array_equal(_bank(method, ("x", "qa", "y"))["task_prompts"][1], qa)
    np.testing.assert_array_equal(_bank(method, ("nli",))["task_prompts"][0], nli)


def test_each_task_starts_from_its_own_label_words():
    bank = _bank(PromptTuning(prompt_length=1, initializer=initializers.class_labels))
    start = toy_start.start(label_words=WORDS)
    for row, word in zip(bank["task_prompts"][:, 0], (b"yes", b"maybe"), strict=True):
        expected = start.embedding[[byte + 3 for byte in word]].mean(axis=0)
        np.testing.assert_allclose(row, expected, rtol=1e-6)


def test_starting_from_a_source_prompt(tmp_path):
    source = toy_start.factors()
    initializer = initializers.FromPromptFile(toy_start.write(tmp_path, source), task="c")
    expected = source["shared"] * (source["task_u"][2] @ source["task_v"][2])
    for prompt in _bank(PromptTuning(4, initializer))["task_prompts"]:
        np.testing.assert_allclose(prompt, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match="length 4, this run asks for 3"):
        _bank(PromptTuning(3, initializer))


def test_length_below_one():
    with pytest.raises(UserError, match="prompt_length must be >= 1, not 0"):
        PromptTuning(prompt_length=0)


@pytest.mark.parametrize("per_task", [True, False])
def test_the_product_comes_back_exactly(tmp_path, per_task):
    model = toy.model(PromptTuning(prompt_length=4, per_task=per_task))
    params = initialize.start(model, toy.backbone(), KEY)
    saving.save(model, str(tmp_path), params, step=2, results={}, feature_lengths={})
    restored = initialize.start(toy.model(Restored(str(tmp_path))), toy.backbone(), KEY)
    jax.tree.map(np.testing.assert_array_equal, restored["prompt_bank"], params["prompt_bank"])
    _, info = product_file.load(str(tmp_path))
    assert (info.method, info.rank, info.length) == ("prompt_tuning", 0, 4)
