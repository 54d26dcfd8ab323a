"""A task's key metric of given answers, as `t5x eval` counts it."""

import math
from collections.abc import Callable, Sequence

import seqio

from mpt_jax.tasks import info

SPLIT = "test"
Answer = Callable[[Sequence[str], Sequence[str]], Sequence[str]]


def texts(name: str, split: str = SPLIT) -> tuple[list[str], list[str]]:
    """The inputs and the targets of all rows of a registered task's split."""
    return _texts(_rows(name, split))


def score(name: str, answer: Answer, split: str = SPLIT) -> float:
    """The key metric of a task.

    Args:
      name: of a registered task.
      answer: from the inputs and the targets of all rows, as text, to the answers.
      split: whose rows are answered.

    Returns:
      Percent. Answers that do not correlate with anything: 0.
    """
    task = seqio.get_mixture_or_task(name)
    rows = _rows(name, split)
    inputs, words = _texts(rows)
    targets, answers = (
        [
            task.postprocess_fn(text, example=row, is_target=is_target)
            for text, row in zip(texts, rows, strict=True)
        ]
        for texts, is_target in ((words, True), (answer(inputs, words), False))
    )
    found = {}
    for metric in task.metric_fns:
        found |= metric(targets, answers)
    value = float(found[info.key_metric(name, found)])
    return 0.0 if math.isnan(value) else value


def _rows(name: str, split: str) -> list[dict]:
    task = seqio.get_mixture_or_task(name)
    return list(task.get_dataset(None, split, shuffle=False).as_numpy_iterator())


def _texts(rows: Sequence[dict]) -> tuple[list[str], list[str]]:
    inputs, targets = (
        [row[f"{feature}_pretokenized"].decode() for row in rows]
        for feature in ("inputs", "targets")
    )
    return inputs, targets
