"""What is computed for a request, and what is said of it."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mpt_jax.engine.inference.predictor import Prediction, Row
from mpt_jax.serve.refused import RefusedError
from mpt_jax.serve.requests import Asked, Labels


class Unit(NamedTuple):
    """What is one row of a batch: a text to answer, or to score some labels of."""

    row: Row
    labels: Labels | None


def units(asked: Asked) -> list[Unit]:
    """The rows that a request takes: one for each text, or for as many labels as a row has."""
    if asked.labels is None:
        return [Unit(row, None) for row in asked.rows]
    most = asked.programs.labels
    return [
        Unit(row, labels[start : start + most])
        for row, labels in zip(asked.rows, asked.labels, strict=True)
        for start in range(0, len(labels), most)
    ]


def content(asked: Asked, found: Sequence[Prediction | np.ndarray]) -> dict[str, Any]:
    """The answer to a request, for JSON.

    Args:
        asked: the request.
        found: for each of its `units`.

    Raises:
        RefusedError: a score is not a number.
    """
    tasks = asked.programs.t5.tasks
    told = [{"task": tasks[r.task_id], "truncated": r.truncated} for r in asked.rows]
    if asked.labels is None:
        for number, (answer, about) in enumerate(zip(found, told, strict=True)):
            _check_number(answer.score, number)
            about.update(prediction=answer.text, score=answer.score)
        return {"predictions": told}
    scores = _joined(found, asked)
    for number, (values, labels, about) in enumerate(zip(scores, asked.labels, told, strict=True)):
        for value in values:
            _check_number(value, number)
        best = labels[int(np.argmax(values))]
        about.update(best=best, log_likelihoods=dict(zip(labels, values, strict=True)))
    return {"scores": told}


def _joined(found: Sequence[np.ndarray], asked: Asked) -> Iterator[list[float]]:
    """The scores of each text's labels, which may be those of several units."""
    parts = iter(found)
    for labels in asked.labels:
        count = -(-len(labels) // asked.programs.labels)
        yield [score for _ in range(count) for score in next(parts).tolist()]


def _check_number(score: float, number: int) -> None:
    if not math.isfinite(score):
        raise RefusedError(
            500, f"text {number} has the score {score}: its prompt or the backbone is damaged."
        )
