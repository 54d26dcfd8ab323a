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
from mpt_jax.errors import UserError
from mpt_jax.tasks import spelling
from mpt_jax.tasks.info import info

INVALID, CONSTANT = "invalid_answers", "constant_answer"

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
        {task: {INVALID: answers that are not one of its label words, CONSTANT: the key metric of
        always answering with the most frequent target}}; INVALID where answers were predicted.

    Raises:
        UserError: a metric fails.
    """
    tasks = _labelled(evaluator)
    constant = _constant_scores(evaluator, keys) if tasks else {}
    found: dict[str, dict[str, float]] = {}
    for task in tasks:
        found[task.name] = {CONSTANT: constant[task.name]}
        if task.name in predicted:
            words = _words(task)
            wrong = _indices(task, words, predicted[task.name]) == len(words)
            found[task.name] = {INVALID: 100 * float(np.mean(wrong)), **found[task.name]}
    return found


def confusions(evaluator: seqio.Evaluator, predicted: Predicted) -> dict[str, Confusion]:
    """The confusion of each task with label words whose answers were predicted."""
    found = {}
    for task in _labelled(evaluator):
        if task.name in predicted:
            words = _words(task)
            found[task.name] = confusion.of(
                words,
                _indices(task, words, _targets(evaluator.cached_model_datasets[task.name])),
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
    decode = task.output_features["targets"].vocabulary.decode
    places = {spelling.respelled(task, word): place for place, word in enumerate(words)}
    texts = (decode(np.trim_zeros(np.asarray(row), "b").tolist()) for row in rows)  # no padding
    return np.array([places.get(text, len(words)) for text in texts])


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
