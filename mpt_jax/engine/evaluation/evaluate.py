"""Evaluation of a run's product on a split; it trains nothing."""

import os
from collections.abc import Iterable, Mapping, Sequence

import jax
import numpy as np
from seqio.metrics import ModelOutputType

from mpt_jax import files, hosts, run_layout
from mpt_jax.configuration import config
from mpt_jax.engine.data.length_buckets import Batch
from mpt_jax.engine.data.pipeline import check_vocabularies
from mpt_jax.engine.evaluation import answering
from mpt_jax.engine.evaluation import confusion as confusion_lib
from mpt_jax.engine.evaluation import evaluator as evaluator_lib
from mpt_jax.engine.evaluation.answering import Answers, Asked, Question
from mpt_jax.engine.evaluation.confusion import Confusion
from mpt_jax.engine.evaluation.task_metrics import Metrics
from mpt_jax.engine.inference.predictor import label_tokens
from mpt_jax.engine.records import evaluated
from mpt_jax.engine.settings import Evaluation
from mpt_jax.errors import UserError


def evaluate(settings: Evaluation) -> Metrics:
    """Decode a split and score it; T5X's `eval.evaluate`.

    Prints the metrics, for tasks with label words `Evaluator.answers` too. Writes into
    `output_dir` `metrics.json` (see `evaluated`), `<task>.jsonl` (inputs, targets, predictions),
    `<task>.confusion.csv` where asked for, and the configuration, `config_eval.gin`.

    Returns:
        {task: {metric: value}}, and the mean of the key metrics under "mean".

    Raises:
        UserError: bad settings or files; an output folder that cannot be written, before any
            work is done.
    """
    evaluation = Prepared(settings)
    return evaluation.conclude(evaluation.answers(), config.operative_config())


class Prepared:
    """An evaluation whose rows are read and whose parameters are on the mesh.

    Args:
        settings: of the evaluation.

    Attributes:
        settings: as given.
        params: all parameters.
        asked: what is asked of the model.

    Raises:
        UserError: as `evaluate`.
    """

    def __init__(self, settings: Evaluation):
        check(settings)
        model, self.settings = settings.model, settings
        self._evaluator = evaluator_lib.kept_for(settings.dataset_cfg, model.FEATURE_CONVERTER_CLS)
        if settings.rank_labels:
            _check_ranked(self._evaluator.tasks, model.method.info.label_words)
        if settings.confusion:
            self._evaluator.check_confusions()
        self.params = settings.params(jax.random.key(0))
        self.asked = _asked(settings, self._evaluator)

    def answers(self) -> Answers:
        """The model's."""
        alone = answering.Alone(self.settings.model, self.settings.partitioner)
        return alone.answers(self.params, self.asked)

    def conclude(self, answers: Answers, text: str) -> Metrics:
        """Scores the answers and puts out what `evaluate` does.

        Args:
            answers: to what is asked.
            text: the configuration.
        """
        settings, evaluator = self.settings, self._evaluator
        results = evaluator.run(answers, output_dir=settings.output_dir)
        confusions = evaluator.confusions() if settings.confusion else {}
        told, collapses = evaluator.answers(), evaluator.collapses()
        keys = evaluator.key_metrics
        put_out_metrics(settings, text, results, keys, told, collapses, confusions)
        return results


def check(settings: Evaluation) -> None:
    """Raises UserError for what else can be seen of settings before any work is done."""
    model = settings.model
    check_vocabularies(settings.dataset_cfg, model.input_vocabulary, model.output_vocabulary)
    path = os.path.join(settings.output_dir, run_layout.EVALUATION)
    hosts.on_first(lambda: files.check_writable(path, setting="EVAL_OUTPUT_DIR"))


def put_out_metrics(
    settings: Evaluation,
    text: str,
    results: Metrics,
    key_metrics: Mapping[str, str],
    answers: Mapping[str, Mapping[str, float]],
    collapses: Mapping[str, str],
    confusions: Mapping[str, Confusion],
) -> None:
    """Prints what was found, and writes it with the configuration; every process calls it.

    The metrics are written last: where they are, the evaluation has come to its end.

    Args:
        settings: of the evaluation.
        text: the configuration.
        results: the metrics.
        key_metrics: name of the key metric of each task.
        answers: `Evaluator.answers`.
        collapses: `Evaluator.collapses`.
        confusions: by task; of a task without one the file of an earlier evaluation is removed.
    """
    output_dir = settings.output_dir
    path = os.path.join(output_dir, run_layout.EVALUATION_CONFIG)
    of = {
        **evaluated.facts(
            settings.model.method.path,
            settings.dataset_cfg.split,
            settings.dataset_cfg.task_feature_lengths,
            settings.rank_labels,
        ),
        evaluated.KEYS: key_metrics,
        evaluated.ANSWERS: answers,
    }
    hosts.on_first(lambda: files.write_whole(path, text, setting="EVAL_OUTPUT_DIR"))
    hosts.on_first(lambda: _write_confusions(output_dir, key_metrics, confusions))
    hosts.on_first(lambda: evaluated.write(output_dir, results, of))
    if hosts.is_first():
        for task, metrics in results.items():
            told = {**metrics, **answers.get(task, {})}
            values = [f"{name} {value:.2f}" for name, value in told.items()]
            values += [f"({collapses[task]})"] if task in collapses else []
            print(task, "  ".join(values))
            if task in confusions:
                print(*confusion_lib.told(confusions[task]), sep="\n")


def _write_confusions(
    output_dir: str, tasks: Iterable[str], confusions: Mapping[str, Confusion]
) -> None:
    for task in tasks:
        path = evaluated.file_of(output_dir, task, confusion_lib.SUFFIX)
        if task in confusions:
            text = confusion_lib.to_csv(confusions[task])
            files.write_whole(path, text, setting="EVAL_OUTPUT_DIR")
        else:
            path.unlink(missing_ok=True)


def _check_ranked(tasks: Sequence[str], words: Mapping[str, Sequence[str]]) -> None:
    for task in tasks:
        if not words.get(task):
            raise UserError(
                f"RANK_LABELS: task {task!r} has no label words to rank; name those that have "
                "some, --gin.MIXTURE_OR_TASK_NAME=\"['...']\"."
            )


def _asked(settings: Evaluation, evaluator: evaluator_lib.Evaluator) -> Asked:
    """What the evaluator asks; of the label words of each row's task, where they are ranked."""
    asked = dict(evaluator.asked)
    if settings.rank_labels and ModelOutputType.PREDICTION in asked:
        model, decoded = settings.model, asked[ModelOutputType.PREDICTION]
        words = [model.method.info.label_words.get(task, ()) for task in model.tasks]
        labels = label_tokens(model.output_vocabulary, words, len(words))
        batches = [_with_labels(batch, labels) for batch in decoded.batches]
        asked[ModelOutputType.PREDICTION] = Question("rank_batch", batches, _most_likely)
    return asked


def _with_labels(batch: Batch, labels: np.ndarray) -> Batch:
    """What is asked of a model that ranks, from the label tokens [K, L, S] of its tasks."""
    tasks = batch["task_ids"]
    return {
        "encoder_input_tokens": batch["encoder_input_tokens"],
        "task_ids": tasks,
        "label_tokens": labels[tasks],
    }


def _most_likely(batch: Batch, scores: np.ndarray) -> np.ndarray:
    """Token ids [B, S] of the label words with the highest of the scores [B, L]."""
    labels = batch["label_tokens"]
    known = labels.any(axis=2)  # a label has at least its end
    best = np.where(known, scores[:, : known.shape[1]], -np.inf).argmax(axis=1)
    return labels[np.arange(len(labels)), best]
