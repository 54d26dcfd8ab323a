"""What training, evaluation and inference are told: one set of settings for both engines.

Gin binds them by T5X's names: `train.train.NAME` is a field of `Training`, `eval.evaluate.NAME` of
`Evaluation`, `infer.infer.NAME` of `Inference` (see `mpt_jax.t5x`). What can be seen of wrong
settings is refused as they are made, before any work is done or anything written.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax

from mpt_jax import feature_lengths
from mpt_jax.engine.checkpoints import CheckpointConfig, SaveCheckpointConfig
from mpt_jax.engine.data.pipeline import DatasetConfig
from mpt_jax.engine.inference.predictor import TRUNCATE
from mpt_jax.engine.initialize import (
    RestoreCheckpointConfig,
    batch_shapes,
    check_backbone_is_there,
    initial_params,
)
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.engine.records import evaluated
from mpt_jax.engine.schedules import Schedule, create_learning_rate_scheduler
from mpt_jax.errors import UserError
from mpt_jax.tasks.batch_filling import EqualMixture


@dataclasses.dataclass(frozen=True)
class Trainer:
    """How a step is taken (T5X's `trainer.Trainer`).

    Attributes:
        num_microbatches: parts that a batch is processed in; the result is the same. None: 1.
        learning_rate_fn: the schedule, a factor of every group's learning rate.
    """

    num_microbatches: int | None = 1
    learning_rate_fn: Schedule = create_learning_rate_scheduler("constant")

    def __post_init__(self):
        if self.num_microbatches is None:
            object.__setattr__(self, "num_microbatches", 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """The arguments of T5X's `train.train`.

    Attributes:
        model: the model protocol, e.g. `models.EncoderDecoderModel`.
        train_dataset_cfg: the training mixture; its `batch_size` is global.
        checkpoint_cfg: where the backbone is, how often to save.
        partitioner: the mesh.
        trainer_cls: makes the `Trainer`.
        model_dir: the run folder.
        total_steps: optimizer steps.
        infer_eval_dataset_cfg: decoded and scored every `eval_period` steps and at the end; the
            product of the run is then that of the best evaluation (`history.best_step`), else of
            the last step. A step is saved before it is evaluated.
        eval_period: steps between evaluations.
        stats_period: steps between log lines; metrics stay on the device in between. None: as
            `eval_period`.
        random_seed: of initialisation, dropout and the order of the data. None: one drawn by
            chance, which the run's record keeps for when it is resumed.
        record: facts for `run.json`, without effect on the run (see `run_record`).

    Raises:
        UserError: counts below 1, batches that do not divide, no backbone.
    """

    model: Any
    train_dataset_cfg: DatasetConfig
    checkpoint_cfg: CheckpointConfig
    partitioner: PjitPartitioner
    trainer_cls: Callable[[], Trainer]
    model_dir: str
    total_steps: int
    infer_eval_dataset_cfg: DatasetConfig | None = None
    eval_period: int = 1000
    stats_period: int | None = 50
    random_seed: int | None = 0
    record: Mapping[str, Any] | None = None

    def __post_init__(self):
        if self.stats_period is None:
            object.__setattr__(self, "stats_period", self.eval_period)
        for name in ("total_steps", "eval_period", "stats_period"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UserError(
                    f"train.train.{name} must be a whole number of at least 1, got {value!r}."
                )
        is_equal = isinstance(self.train_dataset_cfg.mixture_or_task_name, EqualMixture)
        self.partitioner.check_batch_size(
            self.batch_size,
            self.trainer.num_microbatches,
            name="TEACHER_BATCH_SIZE" if is_equal else "BATCH_SIZE",
        )
        if self.infer_eval_dataset_cfg is not None:
            size = self.infer_eval_dataset_cfg.batch_size
            self.partitioner.check_batch_size(size, name="EVAL_BATCH_SIZE")
        check_backbone_is_there(self.model, self.checkpoint_cfg.restore)

    @functools.cached_property
    def trainer(self) -> Trainer:
        """What `trainer_cls` makes."""
        return self.trainer_cls()

    @property
    def batch_size(self) -> int:
        """Rows of a step, on all hosts together."""
        return self.train_dataset_cfg.batch_size

    @property
    def lengths(self) -> Mapping[str, int]:
        """Token limits, {"inputs": T, "targets": S}."""
        return self.train_dataset_cfg.task_feature_lengths

    @property
    def save(self) -> SaveCheckpointConfig:
        """How often to save."""
        return self.checkpoint_cfg.save or SaveCheckpointConfig(period=None)

    def evaluates_after(self, step: int) -> bool:
        """Whether an evaluation is due once this step is taken."""
        return step % self.eval_period == 0 or step >= self.total_steps

    def stopped(self, at: str, others: int = 0) -> KeyboardInterrupt:
        """What is raised once a run, and others with it, was told to stop; `at` is "step N"."""
        saved = "saved" if self.save.period else "without checkpoints, at"
        more = f" and in {others} other runs" if others else ""
        return KeyboardInterrupt(f"{saved} {at} of {self.total_steps} in {self.model_dir}{more}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _WithProduct:
    """What evaluation and inference share.

    Attributes:
        model: with the product of a run, e.g. of the method `methods.restored.Restored`.
        restore_checkpoint_cfg: the backbone.
        partitioner: the mesh.
        rank_labels: answer with the most likely of the task's label words, instead of decoding.
    """

    model: Any
    restore_checkpoint_cfg: RestoreCheckpointConfig
    partitioner: PjitPartitioner
    rank_labels: bool = False

    def __post_init__(self):
        check_backbone_is_there(self.model, self.restore_checkpoint_cfg)

    def start(self, rng: jax.Array, lengths: Mapping[str, int], batch_size: int) -> dict:
        """All parameters, on the mesh; see `initial_params`."""
        shapes = batch_shapes(batch_size, lengths)
        return initial_params(
            self.model, self.partitioner, self.restore_checkpoint_cfg, shapes, rng
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation(_WithProduct):
    """The arguments of T5X's `eval.evaluate`.

    Attributes:
        dataset_cfg: tasks, split, lengths and batch size.
        output_dir: made where it is missing; None: `evaluated.folder`, next to the prompts.
        confusion: write and print the confusion matrix of each task with label words.

    Raises:
        UserError: a batch that does not divide, no backbone.
    """

    dataset_cfg: DatasetConfig
    output_dir: str | None = None
    confusion: bool = False

    def __post_init__(self):
        if not self.output_dir:
            folder = evaluated.folder(self.model.method.path, self.dataset_cfg.split)
            object.__setattr__(self, "output_dir", folder)
        self.partitioner.check_batch_size(self.dataset_cfg.batch_size, name="EVAL_BATCH_SIZE")
        super().__post_init__()

    def params(self, rng: jax.Array) -> dict:
        """All parameters, on the mesh."""
        return self.start(rng, self.dataset_cfg.task_feature_lengths, self.dataset_cfg.batch_size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inference(_WithProduct):
    """The arguments of T5X's `infer.infer`.

    Attributes:
        inputs: a UTF-8 file of plain text; or, named *.jsonl, *.csv or *.tsv, of rows with "input"
            (or the fields of their task's form of inputs) and perhaps "task"; "-": standard input,
            answered as it comes.
        task_feature_lengths: token limits.
        batch_size: rows decoded at a time, of any tasks.
        task: of rows that name none; may be left out where the bank has one.
        output: file to write; None: standard output.
        input_format: "text", "jsonl", "csv" or "tsv", where the name does not say it.
        too_long: "truncate" longer texts, and say how many, or "refuse" them.

    Raises:
        UserError: limits or a batch size that cannot be used, no backbone.
    """

    inputs: str
    task_feature_lengths: Mapping[str, int]
    batch_size: int
    task: str | None = None
    output: str | None = None
    input_format: str | None = None
    too_long: str = TRUNCATE

    def __post_init__(self):
        feature_lengths.check(self.task_feature_lengths)
        self.partitioner.check_batch_size(self.batch_size, name="EVAL_BATCH_SIZE")
        super().__post_init__()

    def params(self, rng: jax.Array) -> dict:
        """All parameters, on the mesh."""
        return self.start(rng, self.task_feature_lengths, self.batch_size)
