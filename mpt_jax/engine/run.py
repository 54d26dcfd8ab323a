"""One run on the host: its folder, data, evaluations, record and product.

The loop (`engine.loop`) takes the steps, of one run or of several together, and tells each run.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Any

import jax
import seqio

from mpt_jax import hosts, run_layout
from mpt_jax.configuration import config
from mpt_jax.engine import initialize, saving
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.checkpoints import Checkpointer
from mpt_jax.engine.data import pipeline
from mpt_jax.engine.data.length_buckets import Batch
from mpt_jax.engine.evaluation import answering, evaluator
from mpt_jax.engine.evaluation.answering import Answers, Asked
from mpt_jax.engine.records import backbone_record, history, run_folder, run_record, run_start
from mpt_jax.engine.records.evaluations import Evaluations
from mpt_jax.engine.reporting import announce
from mpt_jax.engine.reporting.progress import Progress
from mpt_jax.engine.reporting.reporter import Reporter
from mpt_jax.engine.reporting.window import MetricWindow
from mpt_jax.engine.settings import Training
from mpt_jax.engine.step import TrainState


class Run:
    """Context manager; at its end the run has let go of its folder, and what it wrote is whole.

    `open`, `start`, `begin`, then for every step `fetch`, `step += 1`, and once `window` has its
    metrics: `report`, `save`, `conclude`.

    Args:
        settings: of the run.

    Attributes:
        settings: as given.
        step: the number of steps taken.
        backbone: the parameters that it was started on.
        frozen: nested dict of the parameters that do not train.
        optimizer, rng: for the programs; set by `start`.
        state: gives the state after `step`.
        meter: of what the run costs.
        window: of the metrics of steps that are not reported yet.
    """

    def __init__(self, settings: Training):
        self.settings, self.model, self.step = settings, settings.model, 0
        self.window = MetricWindow(self.model.tasks)
        self.state: Callable[[], TrainState]
        self._dir = settings.model_dir
        self._open = contextlib.ExitStack()
        self._evaluator: evaluator.Evaluator | None = None

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *exc_info) -> bool:
        try:
            return self._open.__exit__(*exc_info)
        finally:
            run_folder.let_go(self._dir)

    # ------------------------------------------------------------------------------- the start

    def open(self) -> bool:
        """Take the folder and read what is there; returns whether anything is left to train.

        Raises:
            UserError: bad settings or data; a folder of another run, or in use.
        """
        settings = self.settings
        hosts.on_first(lambda: run_folder.prepare(self._dir, config.operative_config()))
        place = os.path.join(self._dir, run_layout.CHECKPOINTS)
        self._checkpointer = Checkpointer(place, settings.save)
        self.step = self._checkpointer.latest_step() or 0
        is_finished = self._has_all_steps and run_layout.is_finished(self._dir)
        if is_finished and saving.saved_steps(self._dir):
            self._checkpointer.close()
            announce.already_finished(self._dir, self.step)
            return False
        pipeline.check_vocabularies(
            settings.train_dataset_cfg, self.model.input_vocabulary, self.model.output_vocabulary
        )
        if settings.infer_eval_dataset_cfg is not None:
            self._evaluator = evaluator.kept_for(
                settings.infer_eval_dataset_cfg, self.model.FEATURE_CONVERTER_CLS
            )
        self._begun = run_start.settle(settings, self.step)
        self.meter = self._begun.meter
        return True

    def start(self, first: "Run | None" = None) -> None:
        """Make parameters, optimizer and data, or read them from the checkpoint to go on from.

        Args:
            first: a run that goes on with this one, has the same programs, and is started; its
                backbone is taken instead of being loaded again.

        Raises:
            UserError: a backbone, data or checkpoint that cannot be used.
        """
        settings, model, begun = self.settings, self.model, self._begun
        partitioner, restore = settings.partitioner, settings.checkpoint_cfg.restore
        init_rng, self.rng = jax.random.split(jax.random.key(begun.seed))
        backbone_rng, start_rng = jax.random.split(init_rng)
        if first is None:
            shapes = initialize.batch_shapes(settings.batch_size, settings.lengths)
            self.backbone = initialize.backbone(model, partitioner, restore, shapes, backbone_rng)
        else:
            self.backbone = first.backbone
        self._alone = answering.Alone(model, partitioner)
        params = initialize.start_on_mesh(model, partitioner, self.backbone, start_rng)
        labels, axes = model.param_labels(params), model.param_axes(params)
        trainable, self.frozen = step_lib.split(params, labels)
        key_metrics = self._evaluator.key_metrics if self._evaluator else {}
        self._facts = {
            **begun.facts,
            "backbone": backbone_record.checked(model, params, begun.before, self._dir),
            "key_metrics": key_metrics,
        }
        self.optimizer = model.optimizer_def.build(labels, axes, begun.schedule)
        state = partitioner.place_state(
            step_lib.init_state(self.optimizer, trainable), step_lib.split(axes, labels)[0]
        )
        self._batches = pipeline.train_batches(
            settings.train_dataset_cfg,
            model.FEATURE_CONVERTER_CLS,
            shard=seqio.ShardInfo(*partitioner.data_shard),
            seed=begun.seed,
        )
        lines = []
        if self.step:
            self.step, state = self._checkpointer.resume(state, self._batches.tf_iterator)
            lines = history.read(self._dir)
        self.state = lambda: state
        self._evaluations = Evaluations(
            model.tasks,
            key_metrics,
            independent=model.method.independent_tasks,
            lines=lines,
            last=self.step,
        )
        hosts.on_first(lambda: run_record.write(self._dir, model, trainable, self._facts))
        announce.start(settings, trainable, self.frozen, self._facts, self.step)

    def begin(self, display: Progress | None = None) -> None:
        """Report from here on, and make up for what a killed run has left out.

        Args:
            display: of several runs; None: the run has its own.

        Raises:
            UserError: a finished run whose product is lost and cannot be made again.
        """
        self._open.enter_context(run_folder.going(self._dir))
        self._open.enter_context(contextlib.closing(self._checkpointer))
        self._reporter = self._open.enter_context(Reporter(self.settings, self.step, display))
        if self.step:
            self._make_up_for_lost_product()
            self.conclude()

    # -------------------------------------------------------------------------------- the steps

    @property
    def is_going(self) -> bool:
        """Whether steps are left to take."""
        return not self._has_all_steps

    def fetch(self) -> Batch:
        """The batch of the next step."""
        return next(self._batches)

    def begun(self) -> None:
        """The first step is taken, and the program for it compiled."""
        self._reporter.begun(self.step)

    def is_due(self, stop: bool) -> bool:
        """Whether anything is to be done after this step; `stop`: the runs are told to stop."""
        reports = self.step % self.settings.stats_period == 0 or self.evaluates
        return reports or self._saves(stop)

    def report(self) -> None:
        """Write the metrics of the steps since the last time.

        Raises:
            UserError: a loss that is not finite, before anything is saved; a lost folder.
        """
        run_folder.check_is_there(self._dir)
        self._reporter.training(self.step, self.window.summarize())

    def save(self, stop: bool) -> None:
        """Save the state where that is due; arguments as `is_due`.

        Raises:
            UserError: it cannot be written.
        """
        if self._saves(stop):
            self._checkpointer.save(self.step, self.state(), self._batches.tf_iterator)
            hosts.on_first(lambda: run_record.amend(self._dir, cost=self.meter.cost(self._dir)))

    @property
    def evaluates(self) -> bool:
        """Whether an evaluation is due after this step."""
        is_time = self._evaluator is not None and self.settings.evaluates_after(self.step)
        return is_time and self.step not in self._evaluations

    @property
    def asked(self) -> Asked:
        """What its evaluation asks."""
        return self._evaluator.asked

    def conclude(self, answers: Answers | None = None) -> None:
        """Evaluate where that is due, and end the step; a resumed run makes up for it.

        Args:
            answers: to what was `asked`, with the state after this step; None: it answers alone.

        Raises:
            UserError: it cannot be evaluated or written.
        """
        if self.evaluates:
            self._evaluate(answers)
        if self._evaluator is None and self._has_all_steps:
            self._export()

    def end(self) -> None:
        """Wait until all is written; the record of a run that took its last step says so."""
        self._open.close()
        if self._has_all_steps:
            hosts.on_first(lambda: run_record.finish(self._dir, self.meter.cost(self._dir)))
            announce.end(self._dir, self.step, self._evaluations)

    # -------------------------------------------------------------------------------- its parts

    @property
    def _has_all_steps(self) -> bool:
        return self.step >= self.settings.total_steps

    def _saves(self, stop: bool) -> bool:
        period = self.settings.save.period
        return bool(period) and (self.step % period == 0 or self._has_all_steps or stop)

    def _params(self) -> dict[str, Any]:
        return step_lib.merge(self.state().trainable, self.frozen)

    def _evaluate(self, answers: Answers | None = None, report: bool = True) -> None:
        """Evaluate the validation split; keep the product where it is the best so far."""
        if answers is None:
            answers = self._alone.answers(self._params(), self.asked)
        results = self._evaluator.run(
            answers,
            step=self.step,
            output_dir=os.path.join(self._dir, run_layout.VALIDATION),
        )
        self._evaluations.add(self.step, results)
        if self._evaluations.improved(self.step):
            self._export()
        if report:  # last: a step that is in metrics.jsonl is done with
            self._reporter.evaluation(self.step, results, self._evaluator.collapses)

    def _export(self) -> None:
        saving.save(
            self.model,
            self._dir,
            self._params(),
            step=self.step,
            results=self._evaluations.results(),
            feature_lengths=self.settings.lengths,
            task_steps=self._evaluations.steps(),
        )

    def _make_up_for_lost_product(self) -> None:
        """The product of the best evaluation so far must be there, or that of a step still to come.

        Of the latter a killed run may have left it; files get lost or damaged.
        """
        step, evaluations = self.step, self._evaluations
        best, saved = evaluations.steps(), saving.saved_steps(self._dir)
        lost = [
            task
            for task, at in best.items()
            if saved.get(task) != at and (saved.get(task, 0) < step or saved[task] in evaluations)
        ]
        if earlier := sorted({best[task] for task in lost} - {step}):
            if self._has_all_steps and not saved:
                raise run_folder.lost_product(self._dir)
            hosts.note(
                f"the product of step {earlier[0]}, the best so far, is gone or damaged: that of "
                "another evaluation replaces it."
            )
        for task in lost:
            evaluations.forget(task, except_of={step, saved.get(task)})
        if lost and evaluations.improved(step):
            self._evaluate(report=False)
