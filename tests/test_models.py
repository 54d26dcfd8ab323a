"""The model protocol: losses against numpy, microbatches that add up, teachers, decoding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
from flax import traverse_util

from mpt_jax import distillation, prompts
from mpt_jax.backbone import decoding
from mpt_jax.engine import initialize, optimizers, saving, schedules
from mpt_jax.engine import step as step_lib
from mpt_jax.errors import UserError
from mpt_jax.methods.full import FullTraining
from mpt_jax.methods.mpt import MPT
from mpt_jax.methods.prompt_tuning import PromptTuning
from mpt_jax.product import product_file

BATCH = toy.batch([0, 2, 2, 1, 0, 2])


def _started(model, seed=1):
    return initialize.start(model, toy.backbone(), jax.random.key(seed))


def _logits(model, params, batch):
    @jax.jit
    def apply(params):
        return model.module.apply(
            {"params": params},
            batch["encoder_input_tokens"],
            batch["decoder_input_tokens"],
            prompts.compose(params["prompt_bank"], batch["task_ids"]),
        )

    return np.asarray(apply(params), np.float64)


def _loss(model, params):
    return jax.jit(model.loss_fn)(params, BATCH, None)


def _token_losses(logits, batch):
    log_z = np.log(np.exp(logits).sum(-1))
    picked = np.take_along_axis(logits, batch["decoder_target_tokens"][..., None], -1)[..., 0]
    return (log_z - picked) * batch["decoder_loss_weights"]


def test_loss_is_the_mean_over_target_tokens():
    model = toy.model()
    params = _started(model)
    loss, _ = _loss(model, params)
    expected = _token_losses(_logits(model, params, BATCH), BATCH)
    np.testing.assert_allclose(
        loss, expected.sum() / BATCH["decoder_loss_weights"].sum(), rtol=1e-4
    )


def test_independent_tasks_sum_the_means_of_each_task():
    model = toy.model(PromptTuning(prompt_length=4))
    params = _started(model)
    loss, summary = _loss(model, params)
    tokens = _token_losses(_logits(model, params, BATCH), BATCH)
    means = [
        tokens[BATCH["task_ids"] == k].sum()
        / BATCH["decoder_loss_weights"][BATCH["task_ids"] == k].sum()
        for k in range(3)
    ]
    np.testing.assert_allclose(loss, sum(means), rtol=1e-4)
    np.testing.assert_allclose(summary["task_loss"].compute(), means, rtol=1e-4)


def test_z_loss_and_label_smoothing_against_numpy():
    model = toy.model(z_loss=0.1, label_smoothing=0.2)
    params = _started(model)
    logits = _logits(model, params, BATCH)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    vocab = logits.shape[-1]
    low = 0.2 / (vocab - 1)
    target = np.where(np.eye(vocab)[BATCH["decoder_target_tokens"]] > 0, 0.8, low)
    entropy = -(0.8 * np.log(0.8) + (vocab - 1) * low * np.log(low))
    each = -(target * log_p).sum(-1) - entropy + 0.1 * np.log(np.exp(logits).sum(-1)) ** 2
    weights = BATCH["decoder_loss_weights"]
    loss, _ = _loss(model, params)
    np.testing.assert_allclose(loss, (each * weights).sum() / weights.sum(), rtol=1e-4)


@pytest.mark.parametrize(
    "bad", [{"label_smoothing": 1.0}, {"label_smoothing": -0.1}, {"z_loss": -1}]
)
def test_losses_out_of_range(bad):
    with pytest.raises(UserError, match="LABEL_SMOOTHING = .* Z_LOSS"):
        toy.model(**bad)


@pytest.fixture(name="teachers")
def _teachers(tmp_path):
    """A prompt file of teachers for the toy backbone, with the tasks in another order."""
    model = toy.model(PromptTuning(prompt_length=4), tasks=("sst", "nli", "qa"))
    params = _started(model, seed=5)
    saving.save(model, str(tmp_path), params, step=3, results={}, feature_lengths={})
    return str(tmp_path)


def test_distillation_adds_lambda_times_both_terms(teachers):
    spec = distillation.Distillation(teachers, weight=0.7, temperature=2.0)
    model = toy.model(distillation=spec)
    params = _started(model)
    loss, summary = _loss(model, params)
    plain, _ = _loss(toy.model(), params)
    terms = summary["loss_logits"].compute() + summary["loss_hidden"].compute()
    assert summary["loss_logits"].compute() > 0 and summary["loss_hidden"].compute() > 0
    np.testing.assert_allclose(loss, plain + 0.7 * terms, rtol=1e-5)


def test_a_student_equal_to_its_teacher_has_no_distillation_loss(teachers):
    spec = distillation.Distillation(teachers)
    model = toy.model(PromptTuning(prompt_length=4), distillation=spec)
    params = _started(model)
    params["prompt_bank"] = {"task_prompts": params["teacher"]["task_prompts"]}
    _, summary = _loss(model, params)
    np.testing.assert_allclose(summary["loss_logits"].compute(), 0.0, atol=1e-6)
    np.testing.assert_allclose(summary["loss_hidden"].compute(), 0.0, atol=1e-10)


def test_teachers_are_matched_by_name_and_a_missing_one_is_named(teachers):
    bank, info = product_file.load(teachers)
    params = _started(toy.model(distillation=distillation.Distillation(teachers)))
    for row, task in zip(params["teacher"]["task_prompts"], toy.TASKS, strict=True):
        np.testing.assert_array_equal(row, bank["task_prompts"][info.tasks.index(task)])
    other = toy.model(tasks=("nli", "boolq"), distillation=distillation.Distillation(teachers))
    with pytest.raises(UserError, match="no prompt for task 'boolq'"):
        _started(other)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("distilled", [False, True])
def test_microbatches_give_the_same_step(teachers, distilled, count):
    spec = distillation.Distillation(teachers) if distilled else None
    model = toy.model(distillation=spec)
    whole, parts = (_one_step(model, n) for n in (1, count))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-6), whole, parts)


def _one_step(model, num_microbatches):
    params = _started(model)
    labels = model.param_labels(params)
    trainable, frozen = step_lib.split(params, labels)
    schedule = schedules.create_learning_rate_scheduler("constant")
    axes = step_lib.split(model.param_axes(params), labels)[0]
    tx = optimizers.adamw(0.1, eps=1e-3).build(step_lib.split(labels, labels)[0], axes, schedule)
    state = step_lib.init_state(tx, trainable)
    step = functools.partial(step_lib.train_step, model, tx, num_microbatches=num_microbatches)
    state, metrics = jax.jit(step)(state, frozen, BATCH, jax.random.key(0))
    return {"trainable": state.trainable, "loss": metrics["loss"]}


def test_only_the_prompt_bank_trains_and_every_parameter_is_claimed():
    for method, trained in (
        (MPT(prompt_length=4), {"shared": "shared", "task_u": "task", "task_v": "task"}),
        (PromptTuning(prompt_length=4), {"task_prompts": "task"}),
        (PromptTuning(prompt_length=4, per_task=False), {"shared": "shared"}),
    ):
        model = toy.model(method)
        labels = model.param_labels(_started(model))
        assert labels.pop("prompt_bank") == trained
        assert set(jax.tree.leaves(labels)) == {"frozen"}
    full = toy.model(FullTraining())
    assert set(jax.tree.leaves(full.param_labels(_started(full)))) == {"backbone"}


def test_an_unclaimed_parameter_is_listed():
    params = {**_started(toy.model()), "adapter": {"kernel": jnp.zeros((2, 2))}}
    with pytest.raises(UserError, match="adapter/kernel"):
        toy.model().param_labels(params)


def test_every_parameter_has_axes_of_its_rank(teachers):
    model = toy.model(distillation=distillation.Distillation(teachers))
    shapes = jax.eval_shape(
        lambda key: model.get_initial_variables(key, toy.SHAPES), jax.random.key(0)
    )
    axes = model.param_axes(shapes["params"])
    params = traverse_util.flatten_dict(shapes["params"], sep="/")
    names = traverse_util.flatten_dict(axes, sep="/")
    metadata = traverse_util.flatten_dict(shapes["params_axes"], sep="/")
    assert {f"{path}_axes" for path in params} == metadata.keys()
    for path, leaf in params.items():
        assert len(names[path]) == leaf.ndim, path
        assert metadata[f"{path}_axes"].names == names[path]


def test_initial_variables_are_traceable():
    shapes = jax.eval_shape(
        lambda rng: toy.model().get_initial_variables(rng, toy.SHAPES)["params"],
        jax.random.key(0),
    )
    assert shapes["prompt_bank"]["shared"].shape == (4, 16)


def test_predictions_depend_on_the_task_and_ignore_padding_rows():
    model = toy.model(PromptTuning(prompt_length=4))
    params = _started(model)
    params["prompt_bank"]["task_prompts"] = 20 * jax.random.normal(jax.random.key(9), (3, 4, 16))
    same_text = {name: np.repeat(rows[:1], 3, axis=0) for name, rows in BATCH.items()}
    same_text["task_ids"] = np.arange(3, dtype=np.int32)
    predict = jax.jit(model.predict_batch_with_aux)
    ids, aux = predict(params, same_text, None)
    alone = [
        predict(params, {name: rows[k : k + 1] for name, rows in same_text.items()}, None)[0]
        for k in range(3)
    ]
    np.testing.assert_array_equal(ids, np.concatenate(alone))
    assert len({tuple(row) for row in np.asarray(ids)}) > 1
    assert aux["scores"].shape == (3,)


@pytest.mark.parametrize(("per_task", "num_beams"), [(True, 1), (False, 2)])
def test_an_example_of_no_task_is_marked_and_the_others_are_as_without_it(per_task, num_beams):
    decode = functools.partial(decoding.generate, num_beams=num_beams)
    model = toy.model(PromptTuning(prompt_length=4, per_task=per_task), decode_fn=decode)
    params = _started(model)
    wrong = {**BATCH, "task_ids": np.array([3, -1, *BATCH["task_ids"][2:]], np.int32)}

    @jax.jit
    def outputs(batch):
        ids, aux = model.predict_batch_with_aux(params, batch)
        score, prompt = model.score_batch(params, batch), model.embed_prompts(params, batch)
        return [ids, aux["scores"], score, prompt, model.eval_fn(params, batch)[0]]

    *expected, loss = map(np.asarray, outputs(BATCH))
    *found, wrong_loss = map(np.asarray, outputs(wrong))
    for right, marked in zip(expected, found, strict=True):
        np.testing.assert_array_equal(marked[2:], right[2:])
    assert (found[0][:2] == -1).all()
    assert all(np.isnan(marked[:2]).all() for marked in found[1:])
    assert np.isnan(wrong_loss) and np.isfinite(loss)


def test_score_is_the_log_likelihood_of_the_target():
    model = toy.model()
    params = _started(model)
    expected = -_token_losses(_logits(model, params, BATCH), BATCH).sum(1)
    np.testing.assert_allclose(jax.jit(model.score_batch)(params, BATCH), expected, rtol=1e-4)


def test_prompts_of_a_model_are_those_of_its_bank():
    model = toy.model()
    params = _started(model)
    ids = jnp.asarray([1, 1, 0])
    text = jnp.ones((3, 5), jnp.int32)
    found = model.embed_prompts(params, {"task_ids": ids, "encoder_input_tokens": text})
    np.testing.assert_array_equal(found, prompts.compose(params["prompt_bank"], ids))
