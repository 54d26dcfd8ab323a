"""Training on the real T5X: our settings as the arguments of `t5x.train.train`."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import seqio
from t5x import checkpoints, utils
from t5x import train as t5x_train
from t5x import trainer as trainer_lib

from mpt_jax import files, hosts, run_layout
from mpt_jax.configuration import config
from mpt_jax.engine import saving
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.data import pipeline
from mpt_jax.engine.initialize import initial_params
from mpt_jax.engine.records import history, run_folder, run_record, run_start
from mpt_jax.engine.records.evaluations import Evaluations
from mpt_jax.engine.reporting import announce
from mpt_jax.engine.reporting.reporter import Reporter
from mpt_jax.engine.settings import Training
from mpt_jax.errors import UserError
from mpt_jax.real_t5x.callbacks import Callbacks
from mpt_jax.real_t5x.data import Evaluator, dataset_config, register
from mpt_jax.real_t5x.model import Model
from mpt_jax.real_t5x.optimizer import Optimizer
from mpt_jax.real_t5x.partitioner import Partitioner
from mpt_jax.real_t5x.start import Initializer


@run_folder.one_run_at_a_time
def train(settings: Training) -> str:
    """`engine.loop.train` on T5X: same settings, same product.

    Raises:
        UserError: as there, and settings that T5X cannot take.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint was saved (one process).
    """
    model_dir, step = settings.model_dir, _latest_step(settings.model_dir)
    if step >= settings.total_steps and run_layout.is_finished(model_dir):
        if not saving.saved_steps(model_dir):
            raise run_folder.lost_product(model_dir)
        announce.already_finished(model_dir, step)
        return model_dir
    translated = arguments(settings)
    (callbacks,) = translated["actions"]["TRAIN"]
    try:
        with run_folder.going(model_dir), callbacks:
            t5x_train.train(**translated)
            hosts.on_first(lambda: run_record.finish(model_dir, callbacks.cost()))
    except trainer_lib.PreemptionError as stop:
        raise settings.stopped(str(stop)) from None
    announce.end(model_dir, settings.total_steps, run_record.evaluations(model_dir))
    return model_dir


def arguments(settings: Training) -> dict[str, Any]:
    """The arguments of `t5x.train.train`; prepares the folder.

    Raises:
        UserError: bad settings, before anything is written.
    """
    # ------------------------------------------------------------------ settings, the folder
    model, partitioner, model_dir = settings.model, settings.partitioner, settings.model_dir
    data, infer_eval_data = settings.train_dataset_cfg, settings.infer_eval_dataset_cfg
    if infer_eval_data is not None:
        _check_periods(settings.eval_period, settings.save.period)
    pipeline.check_vocabularies(data, model.input_vocabulary, model.output_vocabulary)
    hosts.on_first(lambda: run_folder.prepare(model_dir, config.operative_config(), engine="t5x"))
    step = _latest_step(model_dir)
    begun = run_start.settle(settings, step)

    # ------------------------------------------------------------------ what T5X calls back
    def export(params: Mapping, step: int, evaluations: Evaluations) -> None:
        saving.save(
            model,
            model_dir,
            params,
            step=step,
            results=evaluations.results(),
            feature_lengths=settings.lengths,
            task_steps=evaluations.steps(),
        )

    evaluations_by = functools.partial(
        Evaluations,
        model.tasks,
        independent=model.method.independent_tasks,
        lines=history.read(model_dir),
        last=step,
    )
    reporter = Reporter(settings, step)
    callbacks = Callbacks(export, reporter, evaluations_by, begun.meter, model_dir)

    def start(init_rng: jax.Array, input_shapes: Mapping) -> Mapping:
        return initial_params(
            model,
            partitioner,
            settings.checkpoint_cfg.restore,
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
        hosts.on_first(lambda: run_record.write(model_dir, model, trainable, begun.facts))
        announce.start(settings, trainable, frozen, begun.facts, step)
        return made

    def evaluator(**arguments: Any) -> Evaluator:
        made = Evaluator(told=callbacks.on_evaluation, **arguments)
        callbacks.judge_by(made.key_metrics)
        keys = run_record.key_metrics(model.tasks, made.key_metrics)
        hosts.on_first(lambda: run_record.amend(model_dir, key_metrics=keys))
        return made

    def batches(_, shard_id: int, num_shards: int, converter_cls: Any, **unused: Any) -> Any:
        shard = seqio.ShardInfo(shard_id, num_shards)
        rows = pipeline.train_dataset(data, converter_cls, shard=shard, seed=begun.seed)
        pipeline.check_resumable(iter(rows), data)
        return callbacks.batches(rows)

    # ------------------------------------------------------------------ in T5X's terms
    optimizer = Optimizer(model, begun.schedule)
    infer_eval = None
    if infer_eval_data is not None:
        infer_eval = dataset_config(infer_eval_data, register(infer_eval_data))
    return {
        "model": Model(model, optimizer, settings.trainer.num_microbatches),
        "train_dataset_cfg": dataset_config(data, "train"),
        "train_eval_dataset_cfg": None,
        "infer_eval_dataset_cfg": infer_eval,
        "checkpoint_cfg": utils.CheckpointConfig(
            save=utils.SaveCheckpointConfig(
                dtype=None,
                period=settings.save.period,
                keep=settings.save.keep,
                save_dataset=True,
                state_transformation_fns=[callbacks.on_save],
            )
        ),
        "partitioner": Partitioner(partitioner),
        "trainer_cls": functools.partial(
            callbacks.trainer,
            length_buckets=data.length_buckets,
            learning_rate_fn=begun.schedule,
            num_microbatches=None,
            weight_metrics_computer=optimizer,
        ),
        "model_dir": str(files.absolute(model_dir)),
        "total_steps": settings.total_steps,
        "eval_steps": 0,
        "eval_period": settings.eval_period,
        "stats_period": settings.stats_period,
        "random_seed": begun.seed,
        "summarize_config_fn": lambda *_: None,
        "inference_evaluator_cls": evaluator,
        "get_dataset_fn": batches,
        "concurrent_metrics": False,
        # What a kill between saving a step and its evaluation has left out.
        "run_eval_before_training": step > 0
        and step not in evaluations_by({})
        and settings.evaluates_after(step),
        "actions": {"TRAIN": [callbacks]},
        "train_state_initializer_cls": initializer,
        "verify_matching_vocabs_fn": None,
    }


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
