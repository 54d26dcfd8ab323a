"""The training loop. Pretraining, teachers, distillation and adaptation all run through it; they
differ in the model, its method and the gin file.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import seqio

from mpt_jax import hosts, run_layout
from mpt_jax.configuration import config
from mpt_jax.engine import schedules
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.checkpoints import CheckpointConfig, Checkpointer, SaveCheckpointConfig
from mpt_jax.engine.data import pipeline
from mpt_jax.engine.evaluation.evaluator import Evaluator
from mpt_jax.engine.initialize import check_backbone_is_there, initial_params, token_shapes
from mpt_jax.engine.interrupt import InterruptFlag
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.engine.records import backbone_record, data_record, history, run_folder, run_record
from mpt_jax.engine.reporting import announce
from mpt_jax.engine.reporting.reporter import Reporter
from mpt_jax.engine.reporting.window import MetricWindow
from mpt_jax.engine.schedules import Schedule, create_learning_rate_scheduler
from mpt_jax.errors import UserError


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


@run_folder.one_run_at_a_time
def train(
    *,
    model: Any,
    train_dataset_cfg: pipeline.DatasetConfig,
    checkpoint_cfg: CheckpointConfig,
    partitioner: PjitPartitioner,
    trainer_cls: Callable[[], Trainer],
    model_dir: str,
    total_steps: int,
    infer_eval_dataset_cfg: pipeline.DatasetConfig | None = None,
    eval_period: int = 1000,
    stats_period: int | None = 50,
    random_seed: int | None = 0,
    record: Mapping[str, Any] | None = None,
) -> str:
    """Train what the model's method declares trainable; T5X's `train.train`.

    A run that finds its own checkpoint in `model_dir` continues from it, bit-identically to never
    having stopped on the same mesh; a finished run whose product loads returns at once. It is
    finished once its last step is saved, evaluated and exported; `run.json` then says so.

    Args:
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

    Returns:
        `model_dir`, which now holds the product (e.g. `prompts.safetensors`).

    Raises:
        UserError: bad settings, before anything is written; a non-finite loss; a finished run whose
            product is lost and of another step than its checkpoints.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint was saved.
    """
    # ------------------------------------------------------------------ settings, the folder
    stats_period = eval_period if stats_period is None else stats_period
    check_counts(total_steps=total_steps, eval_period=eval_period, stats_period=stats_period)
    trainer = trainer_cls()
    partitioner.check_batch_size(train_dataset_cfg.batch_size, trainer.num_microbatches)
    if infer_eval_dataset_cfg is not None:
        partitioner.check_batch_size(infer_eval_dataset_cfg.batch_size)
    check_backbone_is_there(model, checkpoint_cfg.restore)
    hosts.on_first(lambda: run_folder.prepare(model_dir, config.operative_config()))
    save_cfg = checkpoint_cfg.save or SaveCheckpointConfig(period=None)
    period = save_cfg.period
    checkpointer = Checkpointer(os.path.join(model_dir, run_layout.CHECKPOINTS), save_cfg)
    step = checkpointer.latest_step() or 0
    finished = step >= total_steps and run_layout.is_finished(model_dir)
    if finished and model.saved_step(model_dir) is not None:
        checkpointer.close()
        announce.already_finished(model_dir, step)
        return model_dir
    pipeline.check_vocabularies(train_dataset_cfg, model.input_vocabulary, model.output_vocabulary)
    evaluator = None
    if infer_eval_dataset_cfg is not None:
        evaluator = Evaluator(infer_eval_dataset_cfg, model.FEATURE_CONVERTER_CLS)

    # ------------------------------------------------------------------ parameters, optimizer
    random_seed = run_record.settle_seed(model_dir, random_seed, resumed=step > 0)
    schedule = run_record.closed(trainer.learning_rate_fn, model_dir, total_steps, step)
    init_rng, step_rng = jax.random.split(jax.random.key(random_seed))
    lengths = train_dataset_cfg.task_feature_lengths
    shapes = token_shapes(train_dataset_cfg.batch_size, lengths)
    params = initial_params(model, partitioner, checkpoint_cfg.restore, shapes, init_rng)
    labels, axes = model.param_labels(params), model.param_axes(params)
    trainable, frozen = step_lib.split(params, labels)
    facts = {
        **(record or {}),
        "seed": random_seed,
        "total_steps": total_steps,
        "schedule_steps": schedules.end_of(schedule),
        "batch_size": train_dataset_cfg.batch_size,
        "backbone": backbone_record.checked(model_dir, model, params, resumed=step > 0),
        "key_metrics": evaluator.key_metrics if evaluator else {},
        "data": data_record.checked(
            model_dir, [train_dataset_cfg, infer_eval_dataset_cfg], resumed=step > 0
        ),
    }
    optimizer = model.optimizer_def.build(labels, axes, schedule)
    state = partitioner.place_state(
        step_lib.init_state(optimizer, trainable), step_lib.split(axes, labels)[0]
    )
    train_step = step_lib.make_train_step(
        model, optimizer, partitioner, num_microbatches=trainer.num_microbatches
    )
    predict, score = (
        step_lib.make_eval_step(fn, partitioner) for fn in (model.predict_batch, model.score_batch)
    )

    # ------------------------------------------------------------------ data
    batches = pipeline.train_batches(
        train_dataset_cfg,
        model.FEATURE_CONVERTER_CLS,
        shard=seqio.ShardInfo(*partitioner.data_shard),
        seed=random_seed,
    )

    # ------------------------------------------------------------------ checkpoint to resume from
    means = {}
    if step:
        step, state = checkpointer.resume(state, batches.tf_iterator)
        means = history.means(history.read(model_dir), last=step)
    hosts.on_first(lambda: run_record.write(model_dir, model, trainable, facts))
    announce.start(
        model_dir,
        model,
        trainable,
        frozen,
        facts,
        dataset_cfg=train_dataset_cfg,
        restore=checkpoint_cfg.restore,
        step=step,
    )

    def evaluates() -> bool:
        due = step % eval_period == 0 or step >= total_steps
        return evaluator is not None and due and step not in means

    def evaluate(report: bool = True) -> None:
        """Evaluate the validation split; keep the product if it is the best so far."""
        params = step_lib.merge(state.trainable, frozen)
        results = evaluator.run(
            lambda batch: predict(params, partitioner.shard_whole_batch(batch)),
            lambda batch: score(params, partitioner.shard_whole_batch(batch)),
            step=step,
            output_dir=os.path.join(model_dir, run_layout.VALIDATION),
        )
        means[step] = results[history.MEAN][history.KEY_METRIC]
        if history.best_step(means) == step:
            export(results)
        if report:  # last: a step that is in metrics.jsonl is done with
            reporter.evaluation(step, results)

    def conclude() -> None:
        """What a step ends with once it is saved; a resumed run makes up for it."""
        if evaluates():
            evaluate()
        if evaluator is None and step >= total_steps:
            export({})

    def export(results: Mapping[str, Any]) -> None:
        params = step_lib.merge(state.trainable, frozen)
        model.save(model_dir, params, step=step, results=results, feature_lengths=lengths)

    def make_up_for_lost_product() -> None:
        """The product of the best evaluation so far must be there, or that of a step still to come.

        Of the latter a killed run may have left it; files get lost or damaged.
        """
        best, saved = history.best_step(means), model.saved_step(model_dir)
        is_to_come = (saved or 0) >= step and saved not in means
        if best is None or saved == best or is_to_come:
            return
        if best == step:
            evaluate(report=False)
        elif step >= total_steps and saved is None:
            raise run_folder.lost_product(model_dir)
        else:
            means.update((other, None) for other in list(means) if other != saved)
            hosts.note(
                f"the product of step {best}, the best so far, is gone or damaged: that of "
                "another evaluation replaces it."
            )

    # ------------------------------------------------------------------ the loop
    stop = False
    window = MetricWindow(model.tasks)
    description = f"{model.method.name} {os.path.basename(os.path.normpath(model_dir))}"
    with (
        run_folder.going(model_dir),
        InterruptFlag() as interrupt,
        contextlib.closing(checkpointer),
        Reporter(model_dir, total_steps, description, step) as reporter,
    ):
        if step:
            make_up_for_lost_product()
            conclude()
        first = step + 1
        while step < total_steps and not stop:
            batch = next(batches)
            state, metrics = train_step(state, frozen, partitioner.shard_batch(batch), step_rng)
            step += 1
            window.add(step, metrics, batch["task_ids"])
            if step == first:
                jax.block_until_ready(metrics)
                reporter.begun(step)
            stop = _is_told_to_stop(interrupt, step, stats_period)
            saves = period and (step % period == 0 or step == total_steps or stop)
            if step % stats_period == 0 or evaluates() or saves:
                run_folder.check_is_there(model_dir)
                # summarize raises on a non-finite loss, before any saving
                reporter.training(step, window.summarize())
            if saves:
                checkpointer.save(step, state, batches.tf_iterator)
            conclude()

    if step >= total_steps:
        hosts.on_first(lambda: run_record.amend(model_dir, finished=True))
        announce.end(model_dir, step, means)
    if hosts.agree_on_any(bool(interrupt)):
        saved = "saved" if period else "without checkpoints, at"
        raise KeyboardInterrupt(f"{saved} step {step} of {total_steps} in {model_dir}")
    return model_dir


def _is_told_to_stop(interrupt: InterruptFlag, step: int, period: int) -> bool:
    """Whether to stop after this step: all processes or none, so several ask every few steps."""
    if jax.process_count() > 1 and step % period:
        return False
    return hosts.agree_on_any(bool(interrupt))


def check_counts(**settings: int) -> None:
    """Raises UserError unless each of these arguments of `train` is a positive whole number."""
    for name, value in settings.items():
        if not isinstance(value, int) or value < 1:
            raise UserError(
                f"train.train.{name} must be a whole number of at least 1, got {value!r}."
            )
