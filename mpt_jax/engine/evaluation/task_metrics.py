"""What tasks' metric functions give: tried before the first step, then as numbers.

SeqIO calls the functions, on both engines; they are a user's, and may give or raise anything.
"""

import contextlib
import functools
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import seqio

from mpt_jax import hosts
from mpt_jax.engine.records.history import KEY_METRIC, MEAN
from mpt_jax.errors import UserError
from mpt_jax.tasks.info import info, key_metric

Metrics = dict[str, dict[str, float]]

_READ_BATCH = 512
_TARGETS = "decoder_target_tokens"
_FAILURE = "Failed to evaluate task"  # how SeqIO begins, where metrics of a task raised


def check_metrics(evaluator: seqio.Evaluator) -> dict[str, str]:
    """The name of each task's key metric, from an evaluation of a model that is always right.

    It predicts the targets, and scores them by their lengths.

    Raises:
        UserError: a metric raises, the key metric is not one of a task's, or no metric is a number.
    """

    def predict(rows) -> list:
        batches = rows.batch(_READ_BATCH).as_numpy_iterator()
        return list(enumerate(row for _, batch in batches for row in batch[_TARGETS]))

    def score(rows) -> list:
        return [(i, -float(np.count_nonzero(tokens))) for i, tokens in predict(rows)]

    found = _as_numbers(tried(evaluator, predict, score))
    return {task: _key(task, list(metrics)) for task, metrics in found.items()}


def tried(evaluator: seqio.Evaluator, predict: Callable, score: Callable) -> Mapping[str, Mapping]:
    """SeqIO's metrics per task of other answers than the model's (UserError: a metric fails)."""
    with failures_named(evaluator):
        future, _ = seqio.Evaluator.evaluate(  # not a subclass's, which reports what it finds
            evaluator, compute_metrics=True, predict_fn=predict, score_fn=score
        )
        return future.result()


@contextlib.contextmanager
def failures_named(evaluator: seqio.Evaluator) -> Iterator[None]:
    """In the block a metric that fails in `evaluator.evaluate` or in its future is a UserError."""
    try:
        yield
    except ValueError as failure:
        error = failure.__cause__
        if error is None or not str(failure).startswith(_FAILURE):
            raise
        name = str(failure).removeprefix(_FAILURE).split(":")[0].strip()
        task = next(task for task in evaluator.eval_tasks if task.name == name)
        raise UserError(
            f"{_culprit(task, error)} of task {name!r} fails: {type(error).__name__}: {error}. "
            "Fix it where the task is registered; it must take any prediction."
        ) from error


def with_mean(found: Mapping[str, Mapping], keys: Mapping[str, str]) -> Metrics:
    """SeqIO's metrics per task, and under "mean" the mean of their key metrics.

    What is not a number (`seqio.metrics.Text`, a dict of examples) is left out. A missing key
    metric counts as NaN.

    Args:
        found: task -> metric -> value, as SeqIO gives it.
        keys: name of each task's key metric.
    """
    metrics = _as_numbers(found)
    scores = [metrics[task].get(key, np.nan) for task, key in keys.items()]
    return {**metrics, MEAN: {KEY_METRIC: float(np.mean(scores))}}


def _as_numbers(found: Mapping[str, Mapping]) -> Metrics:
    return {
        task: {
            name: number
            for name, value in metrics.items()
            if (number := _number(value)) is not None
        }
        for task, metrics in found.items()
    }


def _number(value: Any) -> float | None:
    value = getattr(value, "value", value)  # of seqio.metrics.Scalar
    if isinstance(value, str | bytes) or getattr(value, "ndim", 0):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _key(task: str, names: list[str]) -> str:
    key, stated = key_metric(task, names), info(task).metric
    if not names:
        raise UserError(f"No metric of task {task!r} is a number: register one that is.")
    if key is None:
        raise UserError(
            f"The key metric {stated!r} of task {task!r} (tasks.info) is not one of its metrics: "
            f"{', '.join(names)}."
        )
    if key != stated:
        hosts.note(
            f"task {task!r} has no metric {stated!r}; its key metric is the first of "
            f"its own, {key!r} (register_info states another of: {', '.join(names)})."
        )
    return key


def _culprit(task: seqio.Task, error: BaseException) -> str:
    """Which metric function of `task` raised `error`, told by the code that was running."""
    running = {frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)}
    for function in task.metric_fns:
        while isinstance(function, functools.partial):
            function = function.func
        function = inspect.unwrap(function)
        if getattr(function, "__code__", None) in running:
            return f"The metric {function.__name__!r}"
    return "A metric or postprocessor"
