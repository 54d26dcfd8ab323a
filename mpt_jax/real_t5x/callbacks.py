"""What T5X calls back during training: reports, the run's product, a clean stop."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
from t5x import trainer as trainer_lib

from mpt_jax import hosts
from mpt_jax.engine.evaluation import answers
from mpt_jax.engine.evaluation.task_metrics import with_mean
from mpt_jax.engine.interrupt import InterruptFlag
from mpt_jax.engine.records import run_record
from mpt_jax.engine.records.evaluations import Evaluations
from mpt_jax.engine.records.meter import Meter
from mpt_jax.engine.reporting.reporter import Reporter
from mpt_jax.errors import UserError
from mpt_jax.real_t5x.data import Batches, Evaluator
from mpt_jax.real_t5x.trainer import Trainer

_NOT_OURS = ("timing/", "learning_rate/current")
_SCHEDULE = "learning_rate"


class Callbacks:
    """Of one run.

    The product is that of the best evaluation, as in our engine; before the first evaluation, and
    in a run without any, that of the last checkpoint; without these that of the end.

    Args:
        export: `export(params, step, evaluations)` writes the product; every process calls it.
        reporter: gets metrics and evaluations.
        evaluations_by: `evaluations_by(key_metrics)` gives those so far.
        meter: of what the run costs.
        model_dir: the run folder.
    """

    def __init__(
        self,
        export: Callable[[Mapping, int, Evaluations], None],
        reporter: Reporter,
        evaluations_by: Callable[[Mapping[str, str]], Evaluations],
        meter: Meter,
        model_dir: str,
    ):
        self._export = export
        self._reporter = reporter
        self._evaluations_by = evaluations_by
        self._evaluations = evaluations_by({})
        self._meter = meter
        self._model_dir = model_dir
        self._trainer: Trainer | None = None
        self._batches: Batches | None = None
        self.interrupt = InterruptFlag()

    def __enter__(self) -> "Callbacks":
        self.interrupt.__enter__()
        return self

    def __exit__(self, *exc_info) -> None:
        self.interrupt.__exit__(*exc_info)
        self._reporter.__exit__(*exc_info)

    def trainer(self, **arguments: Any) -> Trainer:
        """The trainer, remembered."""
        self._trainer = Trainer(begins=self._meter.go, ended=self.on_end, **arguments)
        return self._trainer

    def cost(self) -> Mapping[str, Any]:
        """What the run costs up to now."""
        return self._meter.cost(self._model_dir)

    def batches(self, dataset: Any) -> Batches:
        """The training data, remembered."""
        self._batches = Batches(dataset)
        return self._batches

    def judge_by(self, key_metrics: Mapping[str, str]) -> None:
        """The names of the key metrics of the evaluated tasks; known once there is an evaluator."""
        self._evaluations = self._evaluations_by(key_metrics)

    def on_save(self, state: Mapping, infos: Any) -> tuple[Mapping, Any]:
        """A `state_transformation_fns` of T5X: called at each save, changes nothing."""
        step = int(state["state"]["step"])
        self._batches.step = step
        if step and not self._evaluations.steps():
            self._export(state["target"], step, self._evaluations)
        hosts.on_first(lambda: run_record.amend(self._model_dir, cost=self.cost()))
        return state, infos

    def on_end(self) -> None:
        """Exports what was trained where no evaluation and no save has."""
        if not self._evaluations.steps() and not self._batches.step:
            state = self._trainer.train_state
            self._export(state.params, int(state.step), self._evaluations)

    def on_evaluation(self, step: int, found: Mapping | None, evaluator: Evaluator) -> None:
        """Keeps the product of an evaluation where it is the best so far, and reports it."""
        results = {}
        if hosts.is_first():
            results = with_mean(found, evaluator.key_metrics)
        self._evaluations.add(step, results)  # the other processes only know that there was one
        if hosts.agree_on_any(hosts.is_first() and bool(self._evaluations.improved(step))):
            self._export(self._trainer.train_state.params, step, self._evaluations)
        collapses = functools.partial(answers.collapses, evaluator, evaluator.texts)
        self._reporter.evaluation(step, results, collapses)  # last, as in our engine

    def run(self, train_state: Any, metrics_by_task: Mapping[str, Mapping]) -> bool:
        """An action of T5X after some training steps, in the first process.

        Raises:
            UserError: the loss or its gradient was not finite.
            PreemptionError: Ctrl-C or SIGTERM came; T5X saves, then raises it.
        """
        (summary,) = metrics_by_task.values()
        values = {name: float(value.value) for name, value in summary.items()}
        step = int(train_state.step)
        self._meter.pause(step)
        if not (math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"])):
            raise UserError(
                f"the loss or its gradient is not finite in the steps up to {step} (mean loss "
                f"{values['loss']}). The last checkpoint is kept; lower the learning rates."
            )
        shown = {
            name: value
            for name, value in values.items()
            if math.isfinite(value) and name != _SCHEDULE and not name.startswith(_NOT_OURS)
        }
        self._reporter.training(step, shown)
        if self.interrupt and jax.process_count() == 1:
            raise trainer_lib.PreemptionError(f"step {step}")
        return False
