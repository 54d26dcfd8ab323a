"""The evaluations of a run so far, and which of them its product is taken from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mpt_jax.engine.records.history import KEY_METRIC, MEAN, best_step

Results = Mapping[str, Mapping[str, float | None]]  # task, or MEAN -> metric -> value


class Evaluations:
    """What was found by step, and the best step of each task.

    The best of a run is the evaluation with the highest mean of the key metrics. Where no trained
    parameter serves two tasks (`Method.independent_tasks`) each task has the best of its own, as
    it would have in a run of its own; a task that is not evaluated follows the mean.

    Args:
        tasks: of the run.
        key_metrics: name of the key metric of each evaluated task.
        independent: whether each task is judged by itself.
        lines: of `metrics.jsonl`; those of evaluations count.
        last: the last step that counts.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        key_metrics: Mapping[str, str],
        *,
        independent: bool,
        lines: Iterable[Mapping[str, Any]] = (),
        last: float = math.inf,
    ):
        own = key_metrics if independent else {}
        self._judges = {task: (task, own[task]) if task in own else _MEAN for task in tasks}
        self._found: dict[tuple[str, str], dict[int, float | None]] = {
            judge: {} for judge in self._judges.values()
        }
        self._results: dict[int, Results] = {}
        for line in lines:
            if line["kind"] == "eval" and line["step"] <= last:
                self.add(line["step"], _nested(line))

    @classmethod
    def of(cls, record: Mapping[str, Any], lines: Iterable[Mapping[str, Any]]) -> "Evaluations":
        """Those of a run, by its `run.json` and `metrics.jsonl`."""
        independent = record.get("independent_tasks", False)
        return cls(record["tasks"], record["key_metrics"], independent=independent, lines=lines)

    def __contains__(self, step: int) -> bool:
        """Whether there was an evaluation after `step`."""
        return step in self._results

    def add(self, step: int, results: Results) -> None:
        """Take note of an evaluation; one of the same step is replaced."""
        self._results[step] = results
        for (name, metric), values in self._found.items():
            values[step] = results.get(name, {}).get(metric)

    def best(self, task: str) -> int | None:
        """The step that the task's part of the product is from; None without any evaluation."""
        return best_step(self._found[self._judges[task]])

    def improved(self, step: int) -> tuple[str, ...]:
        """The tasks whose best evaluation so far is that after `step`."""
        return tuple(task for task in self._judges if self.best(task) == step)

    def forget(self, task: str, *, except_of: Iterable[int]) -> None:
        """Let the other evaluations not count, because what they gave the task is lost."""
        values = self._found[self._judges[task]]
        for step in values.keys() - set(except_of):
            del values[step]

    def steps(self) -> dict[str, int]:
        """The best step of each task; none where there is no evaluation."""
        return {task: best for task in self._judges if (best := self.best(task)) is not None}

    def score(self) -> float | None:
        """The mean of the key metrics at the best steps; None: not finite, or no evaluation."""
        score = self.results().get(MEAN, {}).get(KEY_METRIC)
        return score if score is not None and math.isfinite(score) else None

    def results(self) -> dict[str, Mapping[str, float | None]]:
        """The metrics of each task at its best step, and their mean."""
        steps = self.steps()
        if not steps:
            return {}
        found = {t: self._results[s][t] for t, s in steps.items() if t in self._results[s]}
        own = [judge for judge in self._judges.values() if judge != _MEAN]
        if not own:
            (step,) = set(steps.values())
            return {**found, MEAN: self._results[step].get(MEAN, {})}
        scores = [found.get(task, {}).get(name) for task, name in own]
        numbers = [score if isinstance(score, int | float) else math.nan for score in scores]
        return {**found, MEAN: {KEY_METRIC: float(np.mean(numbers))}}


_MEAN = (MEAN, KEY_METRIC)


def _nested(line: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The values of a line, "task/metric" -> value, by task."""
    results: dict[str, dict[str, Any]] = {}
    for name, value in line.items():
        task, slash, metric = name.partition("/")
        if slash:
            results.setdefault(task, {})[metric] = value
    return results
