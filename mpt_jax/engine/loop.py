"""The training loop. Pretraining, teachers, distillation and adaptation all run through it; they
differ in the model, its method and the gin file.
"""

import contextlib
import functools
import os

import jax
import seqio

from mpt_jax import hosts, run_layout
from mpt_jax.configuration import config
from mpt_jax.engine import saving
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.checkpoints import Checkpointer
from mpt_jax.engine.data import pipeline
from mpt_jax.engine.evaluation.evaluator import Evaluator
from mpt_jax.engine.initialize import batch_shapes, initial_params
from mpt_jax.engine.interrupt import InterruptFlag
from mpt_jax.engine.records import backbone_record, history, run_folder, run_record, run_start
from mpt_jax.engine.records.evaluations import Evaluations
from mpt_jax.engine.reporting import announce
from mpt_jax.engine.reporting.reporter import Reporter
from mpt_jax.engine.reporting.window import MetricWindow
from mpt_jax.engine.settings import Training


@run_folder.one_run_at_a_time
def train(settings: Training) -> str:
    """Train what the model's method declares trainable; T5X's `train.train`.

    A run that finds its own checkpoint in `model_dir` continues from it, bit-identically to never
    having stopped on the same mesh; a finished run whose product loads returns at once. It is
    finished once its last step is saved, evaluated and exported; `run.json` then says so.

    Returns:
        `model_dir`, which now holds the product (e.g. `prompts.safetensors`).

    Raises:
        UserError: bad settings, before anything is written; a non-finite loss; a finished run whose
            product is lost and of another step than its checkpoints.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint was saved.
    """
    # ------------------------------------------------------------------ the folder
    model, partitioner, model_dir = settings.model, settings.partitioner, settings.model_dir
    total_steps, period = settings.total_steps, settings.save.period
    hosts.on_first(lambda: run_folder.prepare(model_dir, config.operative_config()))
    checkpointer = Checkpointer(os.path.join(model_dir, run_layout.CHECKPOINTS), settings.save)
    step = checkpointer.latest_step() or 0
    finished = step >= total_steps and run_layout.is_finished(model_dir)
    if finished and saving.saved_steps(model_dir):
        checkpointer.close()
        announce.already_finished(model_dir, step)
        return model_dir
    pipeline.check_vocabularies(
        settings.train_dataset_cfg, model.input_vocabulary, model.output_vocabulary
    )
    evaluator = None
    if settings.infer_eval_dataset_cfg is not None:
        evaluator = Evaluator(settings.infer_eval_dataset_cfg, model.FEATURE_CONVERTER_CLS)
    begun = run_start.settle(settings, step)

    # ------------------------------------------------------------------ parameters, optimizer
    init_rng, step_rng = jax.random.split(jax.random.key(begun.seed))
    shapes = batch_shapes(settings.batch_size, settings.lengths)
    params = initial_params(model, partitioner, settings.checkpoint_cfg.restore, shapes, init_rng)
    labels, axes = model.param_labels(params), model.param_axes(params)
    trainable, frozen = step_lib.split(params, labels)
    facts = {
        **begun.facts,
        "backbone": backbone_record.checked(model, params, begun.before, model_dir),
        "key_metrics": evaluator.key_metrics if evaluator else {},
    }
    optimizer = model.optimizer_def.build(labels, axes, begun.schedule)
    state = partitioner.place_state(
        step_lib.init_state(optimizer, trainable), step_lib.split(axes, labels)[0]
    )
    train_step = step_lib.make_train_step(
        model, optimizer, partitioner, num_microbatches=settings.trainer.num_microbatches
    )
    predict, score = (
        step_lib.make_eval_step(fn, partitioner) for fn in (model.predict_batch, model.score_batch)
    )

    # ------------------------------------------------------------------ data
    batches = pipeline.train_batches(
        settings.train_dataset_cfg,
        model.FEATURE_CONVERTER_CLS,
        shard=seqio.ShardInfo(*partitioner.data_shard),
        seed=begun.seed,
    )

    # ------------------------------------------------------------------ checkpoint to resume from
    lines = []
    if step:
        step, state = checkpointer.resume(state, batches.tf_iterator)
        lines = history.read(model_dir)
    evaluations = Evaluations(
        model.tasks,
        facts["key_metrics"],
        independent=model.method.independent_tasks,
        lines=lines,
        last=step,
    )
    hosts.on_first(lambda: run_record.write(model_dir, model, trainable, facts))
    announce.start(settings, trainable, frozen, facts, step)

    def evaluates() -> bool:
        return evaluator is not None and settings.evaluates_after(step) and step not in evaluations

    def evaluate(report: bool = True) -> None:
        """Evaluate the validation split; keep the product where it is the best so far."""
        params = step_lib.merge(state.trainable, frozen)
        results = evaluator.run(
            functools.partial(predict, params),
            functools.partial(score, params),
            step=step,
            output_dir=os.path.join(model_dir, run_layout.VALIDATION),
        )
        evaluations.add(step, results)
        if evaluations.improved(step):
            export()
        if report:  # last: a step that is in metrics.jsonl is done with
            reporter.evaluation(step, results, evaluator.collapses)

    def conclude() -> None:
        """What a step ends with once it is saved; a resumed run makes up for it."""
        if evaluates():
            evaluate()
        if evaluator is None and step >= total_steps:
            export()

    def export() -> None:
        params = step_lib.merge(state.trainable, frozen)
        saving.save(
            model,
            model_dir,
            params,
            step=step,
            results=evaluations.results(),
            feature_lengths=settings.lengths,
            task_steps=evaluations.steps(),
        )

    def note_cost() -> None:
        run_record.amend(model_dir, cost=begun.meter.cost(model_dir))

    def make_up_for_lost_product() -> None:
        """The product of the best evaluation so far must be there, or that of a step still to come.

        Of the latter a killed run may have left it; files get lost or damaged.
        """
        best, saved = evaluations.steps(), saving.saved_steps(model_dir)
        lost = [
            task
            for task, at in best.items()
            if saved.get(task) != at and (saved.get(task, 0) < step or saved[task] in evaluations)
        ]
        if earlier := sorted({best[task] for task in lost} - {step}):
            if step >= total_steps and not saved:
                raise run_folder.lost_product(model_dir)
            hosts.note(
                f"the product of step {earlier[0]}, the best so far, is gone or damaged: that of "
                "another evaluation replaces it."
            )
        for task in lost:
            evaluations.forget(task, except_of={step, saved.get(task)})
        if lost and evaluations.improved(step):
            evaluate(report=False)

    # ------------------------------------------------------------------ the loop
    stop = False
    window = MetricWindow(model.tasks)
    with (
        run_folder.going(model_dir),
        InterruptFlag() as interrupt,
        contextlib.closing(checkpointer),
        Reporter(settings, step) as reporter,
    ):
        if step:
            make_up_for_lost_product()
            conclude()
        first = step + 1
        begun.meter.go(step)
        while step < total_steps and not stop:
            batch = next(batches)
            state, metrics = train_step(state, frozen, partitioner.shard_batch(batch), step_rng)
            step += 1
            window.add(step, metrics, batch["task_ids"])
            if step == first:
                jax.block_until_ready(metrics)
                reporter.begun(step)
            stop = _is_told_to_stop(interrupt, step, settings.stats_period)
            saves = period and (step % period == 0 or step == total_steps or stop)
            if step % settings.stats_period == 0 or evaluates() or saves:
                run_folder.check_is_there(model_dir)
                # summarize raises on a non-finite loss, before any saving
                reporter.training(step, window.summarize())
                begun.meter.pause(step)
            if saves:
                checkpointer.save(step, state, batches.tf_iterator)
                hosts.on_first(note_cost)
            conclude()
            begun.meter.go(step)

    if step >= total_steps:
        hosts.on_first(lambda: run_record.finish(model_dir, begun.meter.cost(model_dir)))
        announce.end(model_dir, step, evaluations)
    if hosts.agree_on_any(bool(interrupt)):
        raise settings.stopped(f"step {step}")
    return model_dir


def _is_told_to_stop(interrupt: InterruptFlag, step: int, period: int) -> bool:
    """Whether to stop after this step: all processes or none, so several ask every few steps."""
    if jax.process_count() > 1 and step % period:
        return False
    return hosts.agree_on_any(bool(interrupt))
