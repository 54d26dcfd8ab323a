"""What a request asks, read from its body; bad input ends here, with one line."""

import math
import reprlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from mpt_jax import files
from mpt_jax.engine.inference.predictor import Row
from mpt_jax.errors import UserError, did_you_mean
from mpt_jax.product import description
from mpt_jax.serve.programs import Programs

_FIELDS = ("texts", "task", "tasks", "timeout")
_EXAMPLE = '{"texts": ["..."], "task": "..."}'

Labels = Sequence[str]


class Asked(NamedTuple):
    """What a request asks.

    Attributes:
        programs: those that are to answer; the task ids of `rows` are theirs.
        rows: its N texts.
        labels: of each text, to be scored; None: answers are asked for.
        timeout: seconds until it is given up, where the request says so.
    """

    programs: Programs
    rows: list[Row]
    labels: list[Labels] | None
    timeout: float | None


def read(body: bytes, programs: Programs, *, scoring: bool) -> Asked:
    """What a body of JSON asks.

    Args:
        body: {"texts": a text or a list of them, "task": a name, or "tasks": one each, "timeout":
            seconds}, and for scoring "labels": a list, by default the label words of each task.
        programs: that would answer now.
        scoring: whether it is labels that are asked about.

    Raises:
        UserError: it is something else; says what.
    """
    values = files.parse_json(body, "the body", "")
    fields = (*_FIELDS, "labels") if scoring else _FIELDS
    if not isinstance(values, dict):
        raise UserError(f"the body is not a JSON object: write {_EXAMPLE}.")
    for name in values:
        if name not in fields:
            raise UserError(
                f"unknown field {name[:100]!r}.{did_you_mean(name, fields)} Fields: "
                f"{', '.join(fields)}."
            )
    texts = values.get("texts")
    texts = _list_of("texts", [texts] if isinstance(texts, str) else texts, _EXAMPLE)
    tasks = values.get("tasks")
    if tasks is not None:
        tasks = _list_of("tasks", tasks, "one name for each text")
    rows = programs.t5.rows(texts, values.get("task"), tasks=tasks)
    labels = _labels(values.get("labels"), rows, programs) if scoring else None
    return Asked(programs, rows, labels, _timeout(values.get("timeout")))


def _list_of(name: str, value: Any, example: str) -> list[Any]:
    if not isinstance(value, list):
        raise UserError(f'"{name}" is {_shown(value)}, which is not a list: write {example}.')
    if not value:
        raise UserError(f'"{name}" is empty: give at least one.')
    return value


def _labels(given: Any, rows: Sequence[Row], programs: Programs) -> list[Labels]:
    """The labels of each row: those given, else the label words of its task."""
    if given is not None:
        labels = _list_of("labels", given, '["...", "..."]')
        for label in labels:
            description.check_label(label)
            programs.check_label(label)
        return [labels] * len(rows)
    words, tasks = programs.t5.predictor.model.label_words, programs.t5.tasks
    for row in rows:
        if not words.get(tasks[row.task_id]):
            raise UserError(
                f"the prompt file states no label words for the task {tasks[row.task_id]!r}: give "
                '"labels": ["...", "..."].'
            )
    return [words[tasks[row.task_id]] for row in rows]


def _timeout(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UserError(f'"timeout" is {_shown(value)}, which is not a number of seconds above 0.')
    return value


def _shown(value: Any) -> str:
    return "missing" if value is None else reprlib.repr(value)
