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

Texts = Mapping[str, Sequence[str]]  # task -> what the answer to each of its N rows reads


def texts(
    evaluator: seqio.Evaluator, predicted: Mapping[str, Sequence[np.ndarray]]
) -> dict[str, list[str]]:
    """What the answers to each task with label words read.

    Args:
        evaluator: whose tasks are asked for.
        predicted: token ids [S] of each answer, of the tasks that have metrics of them.
    """
    return {
        task.name: _read(task, predicted[task.name])
        for task in _labelled(evaluator)
        if task.name in predicted
    }


def told(
    evaluator: seqio.Evaluator, constant: Mapping[str, float], texts: Texts
) -> dict[str, dict[str, float]]:
    """How to read the metrics of each task with label words, in percent.

    Args:
        evaluator: that the metrics are of.
        constant: `constant_scores`.
        texts: the answers.

    Returns:
        {task: {INVALID: answers that are not one of its label words, SAME: those that are its most
        frequent answer, CONSTANT: the key metric of always answering with the most frequent
        target}}; the first two where answers were predicted.
    """
    found: dict[str, dict[str, float]] = {}
    for task in _labelled(evaluator):
        found[task.name] = {CONSTANT: constant[task.name]}
        if task.name in texts:
            words, answers = _words(task), texts[task.name]
            wrong = _indices(task, words, answers) == len(words)
            of_answers = {INVALID: 100 * float(np.mean(wrong)), SAME: _most_frequent(answers)[1]}
            found[task.name] = {**of_answers, **found[task.name]}
    return found


def constant_scores(evaluator: seqio.Evaluator, keys: Mapping[str, str]) -> dict[str, float]:
    """The key metric of each task where each row is answered with the most frequent target.

    Args:
        evaluator: of the rows; without tasks with label words nothing is computed.
        keys: name of each task's key metric.

    Raises:
        UserError: a metric fails.
    """
    if not _labelled(evaluator):
        return {}

    def predict(dataset) -> list[tuple[int, np.ndarray]]:
        rows = _target_rows(dataset)
        ((most, _),) = collections.Counter(row.tobytes() for row in rows).most_common(1)
        constant = next(row for row in rows if row.tobytes() == most)
        return [(i, constant) for i in range(len(rows))]

    def score(dataset) -> list[tuple[int, float]]:
        return [(i, 0.0) for i, _ in predict(dataset)]

    found = with_mean(tried(evaluator, predict, score), keys)
    return {task: found[task].get(key, np.nan) for task, key in keys.items()}


def collapses(evaluator: seqio.Evaluator, texts: Texts) -> dict[str, str]:
    """Says of each task whose answers are nearly all the same, though its targets are not, so."""
    found = {}
    for task in _labelled(evaluator):
        if task.name not in texts:
            continue
        answer, share = _most_frequent(texts[task.name])
        if share >= COLLAPSED and _most_frequent(_targets(evaluator, task))[1] < COLLAPSED:
            found[task.name] = f"{share:.0f} % of the answers are {shown(answer)}"
    return found


def confusions(evaluator: seqio.Evaluator, texts: Texts) -> dict[str, Confusion]:
    """The confusion of each task with label words whose answers were predicted."""
    found = {}
    for task in _labelled(evaluator):
        if task.name in texts:
            words = _words(task)
            both = _targets(evaluator, task), texts[task.name]
            found[task.name] = confusion.of(words, *(_indices(task, words, x) for x in both))
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


def _indices(task: seqio.Task, words: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """Which of the `words` each text is, [N] int; their number for none of them."""
    places = {spelling.respelled(task, word): place for place, word in enumerate(words)}
    return np.array([places.get(text, len(words)) for text in texts])


def _most_frequent(texts: Sequence[str]) -> tuple[str, float]:
    """The text that there is most of, and its share in percent."""
    ((text, count),) = collections.Counter(texts).most_common(1)
    return text, 100 * count / len(texts)


def _read(task: seqio.Task, rows: Sequence[np.ndarray]) -> list[str]:
    """What rows of tokens read, without their padding."""
    decode = task.output_features["targets"].vocabulary.decode
    return [decode(np.trim_zeros(np.asarray(row), "b").tolist()) for row in rows]


def _targets(evaluator: seqio.Evaluator, task: seqio.Task) -> list[str]:
    return _read(task, _target_rows(evaluator.cached_model_datasets[task.name]))


def _target_rows(dataset) -> list[np.ndarray]:
    return [row["decoder_target_tokens"] for _, row in dataset.as_numpy_iterator()]
