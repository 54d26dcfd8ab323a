"""What a training run tells its user, in one place: the progress display and the metric files."""

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from mpt_jax import hosts
from mpt_jax.engine.records import history
from mpt_jax.engine.reporting.metric_writer import MetricWriter
from mpt_jax.engine.reporting.progress import SCORE, Progress
from mpt_jax.engine.settings import Training


class Reporter:
    """Context manager; silent in all processes but the first.

    Args:
        settings: of the run, whose folder gets `metrics.jsonl` and TensorBoard events.
        step: that the run goes on from.
        display: of several runs that go on together; None: the run has its own.
    """

    def __init__(self, settings: Training, step: int, display: Progress | None = None):
        self._open = contextlib.ExitStack()
        self._speaks = hosts.is_first()
        if self._speaks:
            writer = MetricWriter(settings.model_dir, resume_step=step)
            self._writer = self._open.enter_context(writer)
            parts = os.path.normpath(settings.model_dir).split(os.sep)
            self._whose = f"{os.sep.join(parts[-2:])}  " if display else ""
            if display is None:
                what = f"{settings.model.method.name} {parts[-1]}"
                display = self._open.enter_context(Progress(settings.total_steps, what, step))
            self._progress = display

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *exc_info) -> None:
        self._open.__exit__(*exc_info)

    def begun(self, step: int) -> None:
        """The first step is taken, and the program for it compiled."""
        if self._speaks:
            self._progress.begin(step)

    def training(self, step: int, scalars: Mapping[str, float]) -> None:
        """Metrics of the steps up to `step`."""
        if self._speaks:
            self._writer.write(step, "train", scalars)
            self._progress.update(step, scalars)

    def evaluation(
        self,
        step: int,
        results: Mapping[str, Mapping[str, Any]],
        collapses: Callable[[], Mapping[str, str]],
    ) -> None:
        """Validation metrics {task: {metric: value}} of the state after `step`.

        Args:
            collapses: gives what is to be said of tasks whose answers are all one, by task; asked
                only where something is said.
        """
        if self._speaks:
            flat = {
                f"{task}/{m}": x for task, metrics in results.items() for m, x in metrics.items()
            }
            self._writer.write(step, "eval", flat)
            score = flat[f"{history.MEAN}/{history.KEY_METRIC}"]
            values = "  ".join(f"{name} {value:.2f}" for name, value in flat.items())
            self._progress.update(step, {SCORE: score})
            self._progress.log(f"{self._whose}step {step}  validation: {SCORE} {score:.2f}", values)
            for task, said in collapses().items():
                self._progress.log(f"{self._whose}step {step}  {task}: {said}")
