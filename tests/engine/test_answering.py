"""Models that answer at once give what each gives alone."""

import jax
import numpy as np
import pytest
import toy
from seqio.metrics import ModelOutputType

from mpt_jax.engine import run_axis
from mpt_jax.engine.evaluation.answering import Alone, AtOnce, Question
from mpt_jax.engine.partitioning import PjitPartitioner

B, T, S = 4, 10, 5
WIDTHS = [(6, T), (6,), (T,)]  # of the batches of each model


@pytest.fixture(name="models", scope="module")
def _models():
    """The model, its mesh, the parameters of three runs, and these stacked, with their axes."""
    model, mesh = toy.model(tasks=("qa",), config=toy.ONE_LAYER), PjitPartitioner()
    backbone = jax.device_put(toy.one_layer(), mesh.replicated)
    shapes = {"shared": (4, 16), "task_u": (1, 4, 1), "task_v": (1, 1, 16)}
    banks = []
    for seed in range(len(WIDTHS)):
        rng = np.random.default_rng(seed)
        bank = {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}
        banks.append(jax.device_put({"prompt_bank": bank}, mesh.replicated))
    stacked = run_axis.Stack(mesh, len(banks)).leaves(banks)
    axes = {**run_axis.frozen_axes(backbone), **jax.tree.map(lambda _: 0, stacked)}
    return model, mesh, [{**backbone, **bank} for bank in banks], {**backbone, **stacked}, axes


def asked(function):
    """The question to each model."""
    questions = []
    for model, widths in enumerate(WIDTHS):
        batches = [toy.batch([0] * B, 10 * model + w, inputs=w, targets=S) for w in widths]
        if function == "rank_batch":  # each model has other label words
            for batch in batches:
                labels = toy.batch(range(3 + model), 1, targets=3 + model)["decoder_target_tokens"]
                batch["label_tokens"] = np.stack([labels] * B)
        questions.append(Question(function, batches))
    return questions


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        ("predict_batch", ModelOutputType.PREDICTION),
        ("rank_batch", ModelOutputType.PREDICTION),
        ("score_batch", ModelOutputType.SCORE),
    ],
)
def test_models_answer_at_once_as_alone(function, kind, models):
    model, mesh, params, stacked, axes = models
    alone, at_once = Alone(model, mesh), AtOnce(model, mesh, axes, 3)
    questions = asked(function)
    together = at_once.answers(stacked, {i: {kind: q} for i, q in enumerate(questions)})
    assert list(together) == [0, 1, 2]
    for index, question in enumerate(questions):
        expected = alone.answers(params[index], {kind: question})[kind]
        assert len(together[index][kind]) == len(expected) == len(WIDTHS[index])
        for rows, of_one in zip(together[index][kind], expected, strict=True):
            if function == "predict_batch":
                assert rows.any()
                np.testing.assert_array_equal(rows, of_one)
            else:
                rows = rows[:, : of_one.shape[1]] if function == "rank_batch" else rows
                np.testing.assert_allclose(rows, of_one, rtol=1e-4)


def test_only_models_that_are_asked_answer(models):
    model, mesh, params, stacked, axes = models
    question, kind = asked("score_batch")[2], ModelOutputType.SCORE
    found = AtOnce(model, mesh, axes, 4).answers(stacked, {2: {kind: question}})
    assert list(found) == [2]
    expected = Alone(model, mesh).answers(params[2], {kind: question})[kind]
    np.testing.assert_allclose(found[2][kind], expected, rtol=1e-4)


def test_memory_of_answers_grows_with_what_is_answered_at_a_time(models):
    model, mesh, _, stacked, axes = models
    questions = [{ModelOutputType.SCORE: question} for question in asked("score_batch")]

    def temporaries(size):
        lowered = AtOnce(model, mesh, axes, size).lower(stacked, questions)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert 1.5 * temporaries(4) < temporaries(8)
