"""What the answers to tasks with label words are, on both engines.

Label words, targets and answers are compared as what their tokens read.
"""

import collections
from collections.abc import Mapping, Sequence

import numpy as np
import seqio
from seqio.metrics import ModelOutputType

from mpt_jax.engine.evaluation import confusion
from mpt_jax.engine.evaluation.confusion import Confusion
from mpt_jax.engine.evaluation.task_metrics import tried, with_mean
from mpt_jax.engine.records.evaluated import COLLAPSED, CONSTANT, INVALID, SAME
from mpt_jax.errors import UserError, shown
from mpt_jax.tasks import spelling
from mpt_jax.tasks.info import info

Predicted = Mapping[str, Sequence[np.ndarray]]  # task -> token ids [S] of each of its N rows


def told(
    evaluator: seqio.Evaluator, keys: Mapping[str, str], predicted: Predicted
) -> dict[str, dict[str, float]]:
    """How to read the metrics of each task with label words, in percent.

    Args:
        evaluator: that the metrics are of.
        keys: name of each task's key metric.
        predicted: the answers, of the tasks that have metrics of them.

    Returns:
        {task: {INVALID: answers that are not one of its label words, SAME: those that are its most
        frequent answer, CONSTANT: the key metric of always answering with the most frequent
        target}}; the first two where answers were predicted.

    Raises:
        UserError: a metric fails.
    """
    tasks = _labelled(evaluator)
    constant = _constant_scores(evaluator, keys) if tasks else {}
    common = most_frequent(evaluator, predicted)
    found: dict[str, dict[str, float]] = {}
    for task in tasks:
        found[task.name] = {CONSTANT: constant[task.name]}
        if task.name in predicted:
            words = _words(task)
            wrong = _indices(task, words, predicted[task.name]) == len(words)
            of_answers = {INVALID: 100 * float(np.mean(wrong)), SAME: common[task.name][1]}
            found[task.name] = {**of_answers, **found[task.name]}
    return found


def most_frequent(evaluator: seqio.Evaluator, predicted: Predicted) -> dict[str, tuple[str, float]]:
    """The most frequent answer to each task with label words, and its share in percent."""
    found = {}
    for task in _labelled(evaluator):
        if task.name in predicted:
            answers = _texts(task, predicted[task.name])
            ((answer, count),) = collections.Counter(answers).most_common(1)
            found[task.name] = (answer, 100 * count / len(answers))
    return found


def collapses(evaluator: seqio.Evaluator, predicted: Predicted) -> dict[str, str]:
    """Says of each task whose answers are nearly all the same, though its targets are not, so."""
    common = most_frequent(evaluator, predicted)
    same = {task: share for task, (_, share) in common.items() if share >= COLLAPSED}
    targets = most_frequent(evaluator, {task: _targets_of(evaluator, task) for task in same})
    return {
        task: f"{share:.0f} % of the answers are {shown(common[task][0])}"
        for task, share in same.items()
        if targets[task][1] < COLLAPSED
    }


def confusions(evaluator: seqio.Evaluator, predicted: Predicted) -> dict[str, Confusion]:
    """The confusion of each task with label words whose answers were predicted."""
    found = {}
    for task in _labelled(evaluator):
        if task.name in predicted:
            words = _words(task)
            found[task.name] = confusion.of(
                words,
                _indices(task, words, _targets_of(evaluator, task.name)),
                _indices(task, words, predicted[task.name]),
            )
    return found


def check_confusions(evaluator: seqio.Evaluator) -> None:
    """Raises UserError unless `confusions` will find one."""
    if not any(ModelOutputType.PREDICTION in _outputs(task) for task in _labelled(evaluator)):
        names = ", ".join(task.name for task in evaluator.eval_tasks)
        raise UserError(
            f"CONFUSION: of {names} no task has label words, or none has metrics of its answers; "
            "leave CONFUSION out, or name another with --gin.MIXTURE_OR_TASK_NAME."
        )


def _labelled(evaluator: seqio.Evaluator) -> list[seqio.Task]:
    """The evaluated tasks that have label words."""
    return [task for task in evaluator.eval_tasks if info(task.name).label_words]


def _outputs(task: seqio.Task) -> set[ModelOutputType]:
    return {metric.model_output_type for metric in task.metric_objs}


def _words(task: seqio.Task) -> tuple[str, ...]:
    return tuple(dict.fromkeys(info(task.name).label_words))


def _indices(task: seqio.Task, words: Sequence[str], rows: Sequence[np.ndarray]) -> np.ndarray:
    """Which of the `words` each row of tokens reads, [N] int; their number for none of them."""
    places = {spelling.respelled(task, word): place for place, word in enumerate(words)}
    return np.array([places.get(text, len(words)) for text in _texts(task, rows)])


def _texts(task: seqio.Task, rows: Sequence[np.ndarray]) -> list[str]:
    """What rows of tokens read, without their padding."""
    decode = task.output_features["targets"].vocabulary.decode
    return [decode(np.trim_zeros(np.asarray(row), "b").tolist()) for row in rows]


def _targets_of(evaluator: seqio.Evaluator, task: str) -> list[np.ndarray]:
    return _targets(evaluator.cached_model_datasets[task])


def _targets(dataset) -> list[np.ndarray]:
    return [row["decoder_target_tokens"] for _, row in dataset.as_numpy_iterator()]


def _constant_scores(evaluator: seqio.Evaluator, keys: Mapping[str, str]) -> dict[str, float]:
    """The key metric of each task where each row is answered with the most frequent target."""

    def predict(dataset) -> list[tuple[int, np.ndarray]]:
        rows = _targets(dataset)
        ((most, _),) = collections.Counter(row.tobytes() for row in rows).most_common(1)
        constant = next(row for row in rows if row.tobytes() == most)
        return [(i, constant) for i in range(len(rows))]

    def score(dataset) -> list[tuple[int, float]]:
        return [(i, 0.0) for i, _ in predict(dataset)]

    found = with_mean(tried(evaluator, predict, score), keys)
    return {task: found[task].get(key, np.nan) for task, key in keys.items()}
