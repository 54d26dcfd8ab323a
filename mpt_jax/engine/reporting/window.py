"""Training metrics between two log lines: kept on the device, fetched and averaged at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from clu import metrics as clu_metrics

from mpt_jax.errors import UserError
from mpt_jax.metrics import PerTask


class MetricWindow:
    """Collects each step's metrics without waiting for the device.

    Args:
        tasks: names of the K tasks.
    """

    def __init__(self, tasks: Sequence[str]):
        self._tasks = tasks
        self._steps: list[tuple[int, Mapping[str, Any], np.ndarray]] = []

    def add(self, step: int, metrics: Mapping[str, Any], task_ids: np.ndarray) -> None:
        """Keep one step's metrics (`engine.step.train_step`) and the task ids [B] of its batch."""
        self._steps.append((step, metrics, task_ids))

    def summarize(self) -> dict[str, float]:
        """Fetch, average over the steps since the last call, and empty the window.

        Returns:
            scalar means by name; metrics per task as "name/task", of the tasks that were seen.

        Raises:
            UserError: the loss or gradient of a step was not finite; names the step and the tasks
                of its batch.
        """
        steps, self._steps = self._steps, []
        fetched = jax.device_get([metrics for _, metrics, _ in steps])
        for (step, _, task_ids), metrics in zip(steps, fetched, strict=True):
            if not metrics["finite"]:
                names = ", ".join(self._tasks[i] for i in np.unique(task_ids))
                raise UserError(
                    f"the loss or its gradient is not finite at step {step} (loss "
                    f"{float(metrics['loss'])}); tasks of its batch: {names}. The last checkpoint "
                    "is kept; lower the learning rates."
                )
        return self._average(fetched)

    def _average(self, fetched: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        scalars = {}
        for name in fetched[0] if fetched else ():
            values = [metrics[name] for metrics in fetched]
            if isinstance(values[0], PerTask):
                merged = PerTask(sum(v.total for v in values), sum(v.count for v in values))
                means = np.asarray(merged.compute())
                scalars |= {
                    f"{name}/{task}": float(mean)
                    for task, mean in zip(self._tasks, means, strict=True)
                    if np.isfinite(mean)
                }
            elif name != "finite":
                computed = [v.compute() if isinstance(v, clu_metrics.Metric) else v for v in values]
                scalars[name] = float(np.mean(computed))
        return scalars
