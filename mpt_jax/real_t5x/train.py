"""Training on the real T5X: our settings as the arguments of `t5x.train.train`."""

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import seqio
from t5x import checkpoints, utils
from t5x import train as t5x_train
from t5x import trainer as trainer_lib

from mpt_jax import files, hosts, run_layout
from mpt_jax.configuration import config
from mpt_jax.engine import schedules
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.checkpoints import CheckpointConfig, SaveCheckpointConfig
from mpt_jax.engine.data import pipeline
from mpt_jax.engine.initialize import check_backbone_is_there, initial_params
from mpt_jax.engine.loop import Trainer, check_counts
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.engine.records import data_record, history, run_folder, run_record
from mpt_jax.engine.reporting import announce
from mpt_jax.engine.reporting.reporter import Reporter
from mpt_jax.errors import UserError
from mpt_jax.real_t5x.callbacks import Callbacks
from mpt_jax.real_t5x.data import Evaluator, dataset_config, register
from mpt_jax.real_t5x.model import Model
from mpt_jax.real_t5x.optimizer import Optimizer
from mpt_jax.real_t5x.partitioner import Partitioner
from mpt_jax.real_t5x.start import Initializer


@run_folder.one_run_at_a_time
def train(*, model_dir: str, total_steps: int, **settings: Any) -> str:
    """`engine.loop.train` on T5X: same arguments, same product.

    Raises:
        UserError: as there, and settings that T5X cannot take.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint was saved (one process).
    """
    step = _latest_step(model_dir)
    if step >= total_steps and run_layout.is_finished(model_dir):
        if settings["model"].saved_step(model_dir) is None:
            raise run_folder.lost_product(model_dir)
        announce.already_finished(model_dir, step)
        return model_dir
    translated = arguments(model_dir=model_dir, total_steps=total_steps, **settings)
    (callbacks,) = translated["actions"]["TRAIN"]
    try:
        with run_folder.going(model_dir), callbacks:
            t5x_train.train(**translated)
            hosts.on_first(lambda: run_record.amend(model_dir, finished=True))
    except trainer_lib.PreemptionError as stop:
        save_cfg = settings["checkpoint_cfg"].save
        saved = "saved" if save_cfg and save_cfg.period else "without checkpoints, at"
        raise KeyboardInterrupt(f"{saved} {stop} of {total_steps} in {model_dir}") from None
    announce.end(model_dir, total_steps, history.means(history.read(model_dir)))
    return model_dir


def arguments(
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
) -> dict[str, Any]:
    """The arguments of `t5x.train.train` for those of `engine.loop.train`; prepares the folder.

    Raises:
        UserError: bad settings, before anything is written.
    """
    # ------------------------------------------------------------------ settings, the folder
    stats_period = eval_period if stats_period is None else stats_period
    check_counts(total_steps=total_steps, eval_period=eval_period, stats_period=stats_period)
    trainer, lengths = trainer_cls(), train_dataset_cfg.task_feature_lengths
    save_cfg = checkpoint_cfg.save or SaveCheckpointConfig(period=None)
    partitioner.check_batch_size(train_dataset_cfg.batch_size, trainer.num_microbatches)
    if infer_eval_dataset_cfg is not None:
        partitioner.check_batch_size(infer_eval_dataset_cfg.batch_size)
        _check_periods(eval_period, save_cfg.period)
    check_backbone_is_there(model, checkpoint_cfg.restore)
    pipeline.check_vocabularies(train_dataset_cfg, model.input_vocabulary, model.output_vocabulary)
    hosts.on_first(lambda: run_folder.prepare(model_dir, config.operative_config(), engine="t5x"))
    step = _latest_step(model_dir)
    random_seed = run_record.settle_seed(model_dir, random_seed, resumed=step > 0)
    schedule = run_record.closed(trainer.learning_rate_fn, model_dir, total_steps, step)

    # ------------------------------------------------------------------ what T5X calls back
    def export(params: Mapping, step: int, results: Mapping) -> None:
        model.save(model_dir, params, step=step, results=results, feature_lengths=lengths)

    description = f"{model.method.name} {os.path.basename(os.path.normpath(model_dir))}"
    means = history.means(history.read(model_dir), last=step)
    reporter = Reporter(model_dir, total_steps, description, step)
    callbacks = Callbacks(export, reporter, means)
    facts = {
        **(record or {}),
        "seed": random_seed,
        "total_steps": total_steps,
        "schedule_steps": schedules.end_of(schedule),
        "batch_size": train_dataset_cfg.batch_size,
        "data": data_record.checked(
            model_dir, [train_dataset_cfg, infer_eval_dataset_cfg], resumed=step > 0
        ),
    }

    def start(init_rng: jax.Array, input_shapes: Mapping) -> Mapping:
        return initial_params(
            model,
            partitioner,
            checkpoint_cfg.restore,
            input_shapes,
            jax.random.wrap_key_data(init_rng),
        )

    def initializer(input_shapes: Mapping, **arguments: Any) -> Initializer:
        made = Initializer(
            start=functools.partial(start, input_shapes=input_shapes),
            input_shapes=input_shapes,
            **arguments,
        )
        params = made.global_train_state_shape.params.unfreeze()
        trainable, frozen = step_lib.split(params, model.param_labels(params))
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
        return made

    def evaluator(**arguments: Any) -> Evaluator:
        made = Evaluator(told=callbacks.on_evaluation, **arguments)
        keys = run_record.key_metrics(model.tasks, made.key_metrics)
        hosts.on_first(lambda: run_record.amend(model_dir, key_metrics=keys))
        return made

    def batches(_, shard_id: int, num_shards: int, converter_cls: Any, **unused: Any) -> Any:
        shard = seqio.ShardInfo(shard_id, num_shards)
        rows = pipeline.train_dataset(
            train_dataset_cfg, converter_cls, shard=shard, seed=random_seed
        )
        pipeline.check_resumable(iter(rows), train_dataset_cfg)
        return callbacks.batches(rows)

    # ------------------------------------------------------------------ in T5X's terms
    optimizer = Optimizer(model, schedule)
    infer_eval = None
    if infer_eval_dataset_cfg is not None:
        infer_eval = dataset_config(infer_eval_dataset_cfg, register(infer_eval_dataset_cfg))
    return {
        "model": Model(model, optimizer, trainer.num_microbatches),
        "train_dataset_cfg": dataset_config(train_dataset_cfg, "train"),
        "train_eval_dataset_cfg": None,
        "infer_eval_dataset_cfg": infer_eval,
        "checkpoint_cfg": utils.CheckpointConfig(
            save=utils.SaveCheckpointConfig(
                dtype=None,
                period=save_cfg.period,
                keep=save_cfg.keep,
                save_dataset=True,
                state_transformation_fns=[callbacks.on_save],
            )
        ),
        "partitioner": Partitioner(partitioner),
        "trainer_cls": functools.partial(
            callbacks.trainer,
            length_buckets=train_dataset_cfg.length_buckets,
            learning_rate_fn=schedule,
            num_microbatches=None,
            weight_metrics_computer=optimizer,
        ),
        "model_dir": str(files.absolute(model_dir)),
        "total_steps": total_steps,
        "eval_steps": 0,
        "eval_period": eval_period,
        "stats_period": stats_period,
        "random_seed": random_seed,
        "summarize_config_fn": lambda *_: None,
        "inference_evaluator_cls": evaluator,
        "get_dataset_fn": batches,
        "concurrent_metrics": False,
        # What a kill between saving a step and its evaluation has left out.
        "run_eval_before_training": step not in means
        and _ends_in_evaluation(step, eval_period, total_steps),
        "actions": {"TRAIN": [callbacks]},
        "train_state_initializer_cls": initializer,
        "verify_matching_vocabs_fn": None,
    }


def _ends_in_evaluation(step: int, eval_period: int, total_steps: int) -> bool:
    return step > 0 and (step % eval_period == 0 or step >= total_steps)


def _check_periods(eval_period: int, save_period: int | None) -> None:
    """T5X walks in strides of the smaller period."""
    if save_period is not None and max(eval_period, save_period) % min(eval_period, save_period):
        raise UserError(
            f"under T5X one of EVAL_PERIOD = {eval_period} and SAVE_PERIOD = {save_period} must be "
            "a multiple of the other: change one, or train with --engine=mpt_jax."
        )


def _latest_step(model_dir: str) -> int:
    path = files.absolute(model_dir)
    return max(checkpoints.all_steps(str(path)), default=0) if path.is_dir() else 0
