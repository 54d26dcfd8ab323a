"""All teachers in one program on task-mixed batches equal one separate run per task.

A separate run has a model of one task and is stepped on that task's rows of the mixed batches. A
batch that has none does not move it, but counts as a step of the schedule.
"""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import toy
import toy_run

from mpt_jax.engine import initialize, optimizers
from mpt_jax.engine.schedules import create_learning_rate_scheduler
from mpt_jax.methods.prompt_tuning import PromptTuning

# Rows of each task (nli, qa, sst) in each batch of 8: sizes differ, and each task is away once,
# in the first batch (sst), in between (qa) or in the last one (nli).
COUNTS = ((4, 4, 0), (2, 2, 4), (4, 0, 4), (4, 2, 2), (2, 4, 2), (0, 4, 4))
METHOD = PromptTuning(prompt_length=4)
RULE = optimizers.adamw(0.3, weight_decay=0.1)


class OneMeanForAllTasks(PromptTuning):
    """Divides each task's loss by the tokens of all tasks, as a shared prompt would."""

    independent_tasks = False


@functools.cache
def _batches():
    """Mixed batches, the tasks' rows in random order."""
    return [
        toy.batch(np.random.default_rng(seed).permutation(np.repeat([0, 1, 2], counts)), seed)
        for seed, counts in enumerate(COUNTS)
    ]


def _start(tasks, optimizer_def=RULE):
    model = toy.model(METHOD, tasks, toy.ONE_LAYER)
    model = dataclasses.replace(model, optimizer_def=optimizer_def)
    return model, initialize.start(model, toy.one_layer(), jax.random.key(1))


def _run(tasks=toy.TASKS, method=METHOD, optimizer_def=RULE, **options):
    """A teachers' run before its first step; the learning rate warms up and decays."""
    model, params = _start(tasks, optimizer_def)
    schedule = create_learning_rate_scheduler(warmup_steps=2, total_steps=8)
    model = dataclasses.replace(model, method=method)
    return toy_run.Run(model, params, schedule=schedule, **options)


def _prompts(run):
    return run.trainable["prompt_bank"]["task_prompts"]


def _history(run):
    """The prompts [K, P, D] before the first step and after each step."""
    history = [_prompts(run)]
    for batch in _batches():
        assert run.step(batch)["finite"]
        history.append(_prompts(run))
    return history


@pytest.fixture(name="together", scope="module")
def _together():
    return _history(_run())


@pytest.fixture(name="alone", scope="module")
def _alone():
    """The prompts [K, P, D] of the separate runs, before the first and after the last step."""
    starts, ends = [], []
    run = _run(tasks=toy.TASKS[:1])
    for index, task in enumerate(toy.TASKS):
        _, params = _start((task,))
        run.restart({"prompt_bank": params["prompt_bank"]})
        starts.append(_prompts(run)[0])
        for batch in _batches():
            rows = batch["task_ids"] == index
            own = {name: values[rows] for name, values in batch.items()}
            if rows.any():
                run.step({**own, "task_ids": np.zeros_like(own["task_ids"])})
            else:
                run.state = run.state.replace(step=run.state.step + 1)
        assert run.state.step == len(COUNTS)
        ends.append(_prompts(run)[0])
    return np.stack(starts), np.stack(ends)


def test_together_equals_alone(together, alone):
    np.testing.assert_array_equal(together[0], alone[0])
    np.testing.assert_allclose(together[-1], alone[1], atol=2e-5)
    learned = np.abs(alone[1] - alone[0]).mean(axis=(1, 2))
    assert (learned > 0.1).all()


def test_the_last_updates_have_the_size_of_the_decayed_rate():
    """With an Adam that has no memory each entry moves by the rate, in every task of the batch."""
    rule = optimizers.adamw(0.3, weight_decay=0.0, b1=0.0, b2=0.0, eps=1e-20)
    run = _run(optimizer_def=rule)
    for step, (batch, counts) in enumerate(zip(_batches(), COUNTS, strict=True)):
        before = _prompts(run)
        rate = run.step(batch)["learning_rate/task"]
        moved = np.median(np.abs(_prompts(run) - before), axis=(1, 2))
        np.testing.assert_allclose(moved, rate * np.greater(counts, 0), rtol=1e-4)
        np.testing.assert_allclose(rate, 0.3 * min(1, step / 2) * min(1, (8 - step) / 6), rtol=1e-6)


def test_microbatches_change_nothing(alone):
    split = _history(_run(num_microbatches=2))
    np.testing.assert_allclose(split[-1], alone[1], atol=2e-5)


def test_an_absent_task_does_not_move_at_all(together):
    for step, counts in enumerate(COUNTS):
        for task in np.flatnonzero(np.equal(counts, 0)):
            np.testing.assert_array_equal(together[step][task], together[step + 1][task])


def test_an_ordinary_optimizer_would_not_do(alone):
    """Weight decay, momentum and the schedule's count all reach a task that is away."""
    model, params = _start(toy.TASKS)
    axes = model.param_axes(params)
    axes["prompt_bank"] = {"task_prompts": (None, "prompt_length", "embed")}
    history = _history(_run(axes=axes))
    assert not np.array_equal(history[2][1], history[3][1])
    assert np.abs(history[-1] - alone[1]).max() > 0.01


def test_one_mean_over_all_tasks_would_not_do(alone):
    history = _history(_run(method=OneMeanForAllTasks(prompt_length=4)))
    assert np.abs(history[-1] - alone[1]).max() > 0.01
