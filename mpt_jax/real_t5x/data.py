"""Our data under T5X: the same batches in the same order, and a position that resumes."""

import os
from collections.abc import Mapping
from typing import Any

import clu.data
import seqio
import tensorflow as tf
from seqio.metrics import ModelOutputType
from t5x import utils

from mpt_jax import hosts
from mpt_jax.engine.data import pipeline
from mpt_jax.engine.evaluation import answers
from mpt_jax.engine.evaluation.task_metrics import check_metrics, failures_named
from mpt_jax.errors import UserError


def dataset_config(cfg: pipeline.DatasetConfig, name: str) -> utils.DatasetConfig:
    """T5X's settings of a dataset; `name` is that of its registered mixture."""
    return utils.DatasetConfig(
        mixture_or_task_name=name,
        task_feature_lengths=cfg.task_feature_lengths,
        split=cfg.split,
        batch_size=cfg.batch_size,
        shuffle=cfg.shuffle,
        seed=cfg.seed,
        use_cached=cfg.use_cached,
        pack=cfg.pack,
    )


def register(cfg: pipeline.DatasetConfig) -> str:
    """Registers the mixture of `cfg` for the rest of the process, as T5X needs; its name."""
    mixture = pipeline.load_mixture(cfg)
    names = {*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()}
    name = mixture.name
    while name in names:
        name = f"{name}_"
    seqio.MixtureRegistry.add_provider(name, mixture)
    return name


class Batches(clu.data.dataset_iterator.TfDatasetIterator):
    """Batches for T5X, as numpy; T5X saves and restores their position.

    T5X fetches a batch before it saves at step 0: resuming from there would skip it, so that
    save holds no position.

    Attributes:
        step: of the next save.
    """

    def __init__(self, dataset: tf.data.Dataset):
        super().__init__(dataset, checkpoint=True)
        self.step = 0

    def save(self, filename: os.PathLike | str) -> None:
        """Writes the position, of a run that has trained."""
        if self.step:
            super().save(filename)

    def restore(self, filename: os.PathLike | str) -> None:
        """Sets the position; without one stays at the start."""
        if tf.io.gfile.exists(f"{os.fspath(filename)}.index"):
            super().restore(filename)


class Evaluator(seqio.Evaluator):
    """SeqIO's evaluator as T5X builds it, which tells its results and writes its predictions.

    Args:
        told: called in every process with (step, SeqIO's metrics in the first, None in others,
            this evaluator).
        asks_for_confusions: whether `answers.confusions` will be asked for.
        arguments: as T5X gives them.

    Attributes:
        key_metrics: name of the key metric of each evaluated task.
        texts: what the last answers read, see `answers.texts`, in the first process.

    Raises:
        UserError: no task has a metric (T5X would skip the evaluation), or one fails on right
            answers (`task_metrics.check_metrics`); as `answers.check_confusions`.
    """

    def __init__(self, *, told: Any, asks_for_confusions: bool = False, **arguments: Any):
        self._writes = False
        tf.io.gfile.makedirs(arguments["log_dir"])  # SeqIO's logger does not
        super().__init__(logger_cls=(seqio.JSONLogger,), **arguments)
        if not self.eval_tasks:
            raise UserError(
                f"Nothing to evaluate: the tasks of {arguments['mixture_or_task_name']} register "
                "no metric_fns."
            )
        self._told = told
        if asks_for_confusions:
            answers.check_confusions(self)
        self.texts: answers.Texts = {}
        self.key_metrics = check_metrics(self)

    @property
    def loggers(self) -> tuple[seqio.Logger, ...]:
        """Those of SeqIO; none while other answers than the model's are tried."""
        return super().loggers if self._writes else ()

    def evaluate(self, *, step: int, **arguments: Any) -> tuple[Any, Mapping]:
        """As SeqIO's; waits for the metrics."""
        self._writes = True
        with failures_named(self):
            future, outputs = super().evaluate(step=step, **arguments)
            found = future.result()
        self._writes = False
        predicted = {
            task: of[ModelOutputType.PREDICTION]
            for task, of in outputs.items()
            if ModelOutputType.PREDICTION in of
        }
        self.texts = answers.texts(self, predicted) if hosts.is_first() else {}
        self._told(step, found, self)
        return future, outputs
