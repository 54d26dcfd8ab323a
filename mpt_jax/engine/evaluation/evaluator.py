"""Metrics of every task of a mixture: SeqIO's Evaluator around few, full, equally long batches.

SeqIO knows metrics, postprocessors and targets; it would run the model task by task, in the order
of the file. Here the rows of all tasks are read once, sorted by length and batched together, so
that one evaluation costs the decoding steps and little else.
"""

import contextlib
import dataclasses
import functools
import os
import uuid
from collections.abc import Callable, Iterator

import numpy as np
import seqio
from seqio.metrics import ModelOutputType

from mpt_jax import files, hosts
from mpt_jax.engine import kept
from mpt_jax.engine.data.length_buckets import MODEL_FEATURES, Batch
from mpt_jax.engine.data.pipeline import ConverterCls, DatasetConfig, load_mixture
from mpt_jax.engine.evaluation import answers
from mpt_jax.engine.evaluation.answering import Answers, Question
from mpt_jax.engine.evaluation.confusion import Confusion
from mpt_jax.engine.evaluation.pool import Pool
from mpt_jax.engine.evaluation.task_metrics import Metrics, check_metrics, failures_named, with_mean
from mpt_jax.engine.records import evaluated
from mpt_jax.errors import UserError

_FUNCTIONS = {ModelOutputType.PREDICTION: "predict_batch", ModelOutputType.SCORE: "score_batch"}


@dataclasses.dataclass(frozen=True)
class _Rows:
    """A task's N rows: what needs to be computed, and the text to show."""

    outputs: frozenset[ModelOutputType]
    inputs: list[str]
    targets: list[str]


def kept_for(cfg: DatasetConfig, converter_cls: ConverterCls) -> "Evaluator":
    """`Evaluator(cfg, converter_cls)`, or the one that has read the same rows (`kept`)."""
    make = functools.partial(Evaluator, cfg, converter_cls)
    return kept.once("rows", lambda: (converter_cls, cfg.identity()), make)


class Evaluator:
    """Evaluates a model on all tasks of a configuration, as often as asked.

    Args:
      cfg: what to read; `length_buckets["inputs"]` cuts the batches, targets stay whole because
        their length is what a model may decode.
      converter_cls: the model's `FEATURE_CONVERTER_CLS`.

    Attributes:
      key_metrics: name of the key metric of each evaluated task.
      asked: what the metrics need of a model, from batches of exactly `cfg.batch_size` rows:
        predictions, token ids [B, S], and scores, the log likelihoods [B] of the targets.

    Raises:
      UserError: as `data.load_mixture`; when no task has a metric; on a metric that needs more
        than predictions or scores, or fails on right answers (`task_metrics.check_metrics`).
    """

    def __init__(self, cfg: DatasetConfig, converter_cls: ConverterCls):
        self._cfg = cfg
        mixture = load_mixture(cfg)
        self._seqio = _seqio_evaluator(cfg, mixture, converter_cls)
        self._texts: Callable[[], answers.Texts] = dict  # of the last run
        read = {task.name: self._read(task) for task in self._seqio.eval_tasks}
        self._rows = {name: rows for name, (_, rows) in read.items()}
        self._pools = {}
        for kind in _FUNCTIONS:
            needing = {name: table for name, (table, rows) in read.items() if kind in rows.outputs}
            if needing:
                self._pools[kind] = Pool(needing, cfg)
        self.asked = {k: Question(_FUNCTIONS[k], pool.batches) for k, pool in self._pools.items()}
        self.key_metrics = check_metrics(self._seqio)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the evaluated tasks: those that have metrics."""
        return tuple(self._rows)

    def run(
        self, found: Answers, *, step: int = -1, output_dir: str | os.PathLike | None = None
    ) -> Metrics:
        """Metrics per task, those that are numbers, and under "mean" that of their key metrics.

        Args:
          found: the answers to what was `asked`; rows that fill the last batch count nowhere.
          step: named in SeqIO's log.
          output_dir: where to write `<task>.jsonl` with inputs, targets, predictions, scores.

        Raises:
          UserError: when a metric fails, or the folder cannot be written.
        """
        computed: dict[ModelOutputType, dict[str, np.ndarray]] = {kind: {} for kind in _FUNCTIONS}
        computed |= {kind: pool.by_task(found[kind]) for kind, pool in self._pools.items()}
        predicted = computed[ModelOutputType.PREDICTION]
        # Decoded once, and only in a process that asks.
        self._texts = functools.cache(lambda: answers.texts(self._seqio, predicted))
        with failures_named(self._seqio):
            future, _ = self._seqio.evaluate(
                compute_metrics=True,
                step=step,
                predict_fn=lambda ds: self._of_task(ds, computed[ModelOutputType.PREDICTION]),
                score_fn=lambda ds: self._of_task(ds, computed[ModelOutputType.SCORE]),
            )
        if output_dir is not None:
            hosts.on_first(lambda: self._write(output_dir, computed))
        return with_mean(future.result(), self.key_metrics)

    def answers(self) -> dict[str, dict[str, float]]:
        """How to read the last run's metrics, see `answers.told`."""
        return answers.told(self._seqio, self._constant, self._texts())

    def collapses(self) -> dict[str, str]:
        """What is to be said of tasks whose last answers are all one, see `answers.collapses`."""
        return answers.collapses(self._seqio, self._texts())

    def confusions(self) -> dict[str, Confusion]:
        """Which labels the last run has taken for which, see `answers.confusions`."""
        return answers.confusions(self._seqio, self._texts())

    @functools.cached_property
    def _constant(self) -> dict[str, float]:
        return answers.constant_scores(self._seqio, self.key_metrics)

    def check_confusions(self) -> None:
        """Raises UserError as `answers.check_confusions`."""
        answers.check_confusions(self._seqio)

    def _read(self, task: seqio.Task) -> tuple[Batch, _Rows]:
        """Model features [N, ...], and the rest."""
        converted = self._seqio.cached_model_datasets[task.name].batch(self._cfg.batch_size)
        batches = [batch for _, batch in converted.as_numpy_iterator()]
        if not batches:
            raise UserError(f"Split {self._cfg.split!r} of task {task.name!r} gives no example.")
        features = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
        shown = list(self._seqio.cached_task_datasets[task.name].as_numpy_iterator())
        outputs = frozenset(metric.model_output_type for metric in task.metric_objs)
        unknown = outputs - {ModelOutputType.PREDICTION, ModelOutputType.SCORE}
        if unknown:
            raise UserError(
                f"A metric of task {task.name!r} needs {sorted(kind.name for kind in unknown)}; "
                "only predictions and scores are computed."
            )
        inputs, targets = (
            [_text(row, side, task.output_features[side].vocabulary) for row in shown]
            for side in MODEL_FEATURES
        )
        return features, _Rows(outputs, inputs, targets)

    def _of_task(self, dataset, computed: dict[str, np.ndarray]) -> list[tuple[int, np.ndarray]]:
        """SeqIO hands over a task's dataset; it gets back what was computed for all tasks."""
        datasets = self._seqio.cached_model_datasets
        name = next(name for name, candidate in datasets.items() if candidate is dataset)
        return list(enumerate(computed[name]))

    def _write(
        self, folder: str | os.PathLike, computed: dict[ModelOutputType, dict[str, np.ndarray]]
    ) -> None:
        for task in self._seqio.eval_tasks:
            self._write_task(task, folder, computed)

    def _write_task(
        self,
        task: seqio.Task,
        folder: str | os.PathLike,
        computed: dict[ModelOutputType, dict[str, np.ndarray]],
    ) -> None:
        rows = self._rows[task.name]
        columns = {"inputs": rows.inputs, "targets": rows.targets}
        if ModelOutputType.PREDICTION in rows.outputs:
            decode = task.output_features["targets"].vocabulary.decode
            tokens = computed[ModelOutputType.PREDICTION][task.name]
            columns["predictions"] = [decode(row.tolist()) for row in tokens]
        if ModelOutputType.SCORE in rows.outputs:
            columns["scores"] = computed[ModelOutputType.SCORE][task.name].tolist()
        lines = zip(*columns.values(), strict=True)
        records = (
            files.to_json(dict(zip(columns, line, strict=True)), ensure_ascii=False)
            for line in lines
        )
        path = evaluated.file_of(folder, task.name, "jsonl")
        files.write_whole(path, "".join(f"{record}\n" for record in records))


def _seqio_evaluator(
    cfg: DatasetConfig, mixture: seqio.Mixture, converter_cls: ConverterCls
) -> seqio.Evaluator:
    with _registered(mixture) as name:
        evaluator = seqio.Evaluator(
            mixture_or_task_name=name,
            feature_converter=converter_cls(pack=False),
            eval_split=cfg.split,
            use_cached=cfg.use_cached,
            seed=cfg.seed,
            sequence_length=cfg.task_feature_lengths,
            async_compute_metrics=False,
        )
    if not evaluator.eval_tasks:
        names = ", ".join(task.name for task in mixture.tasks)
        raise UserError(f"Nothing to evaluate: {names} register no metric_fns.")
    return evaluator


@contextlib.contextmanager
def _registered(mixture: seqio.Mixture) -> Iterator[str]:
    """A name for a mixture while SeqIO's Evaluator is built: it takes only names."""
    name = f"{mixture.name}_{uuid.uuid4().hex}"
    seqio.MixtureRegistry.add_provider(name, mixture)
    try:
        yield name
    finally:
        seqio.MixtureRegistry.remove(name)


def _text(row: dict[str, np.ndarray], side: str, vocabulary: seqio.Vocabulary) -> str:
    text = row.get(f"{side}_pretokenized")
    if isinstance(text, bytes):
        return text.decode("utf-8")
    return vocabulary.decode(row[side].tolist())
