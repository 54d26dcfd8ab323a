"""Runs that are compared with each other: one stage, one number of shots; mean ± std over seeds."""

import dataclasses
import statistics
from collections.abc import Iterable, Sequence

from mpt_jax.engine.records import evaluated, recorded_costs
from mpt_jax.engine.records.recorded_costs import Cost
from mpt_jax.report.runs import SOURCE, TARGET, VALIDATION, Run


@dataclasses.dataclass(frozen=True)
class Cell:
    """Scores of several seeds.

    Attributes:
        mean: percent.
        std: sample standard deviation over seeds; None for a single one.
        seeds: their number.
        splits: that they are scores on.
    """

    mean: float
    std: float | None
    seeds: int
    splits: frozenset[str]

    @property
    def validation(self) -> bool:
        """Whether any of them is a validation score."""
        return VALIDATION in self.splits


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    """Runs of one stage and one number of shots, with every method and task among them.

    Attributes:
        stage: SOURCE or TARGET.
        shots: training examples per task; None: all.
        runs: at least one.
    """

    stage: str
    shots: int | None
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """For file names."""
        shots = "all_examples" if self.shots is None else f"{self.shots}_examples"
        return f"source_{shots}" if self.stage == SOURCE else shots

    @property
    def title(self) -> str:
        """For headings."""
        shots = "all" if self.shots is None else str(self.shots)
        text = f"{shots} training examples" + (" per task" if self.shots else "")
        return f"Source training: {text}" if self.stage == SOURCE else text.capitalize()

    @property
    def tasks(self) -> list[str]:
        """All tasks of the runs, sorted."""
        return sorted({task for run in self.runs for task in run.tasks})

    @property
    def labels(self) -> list[str]:
        """The methods, in the report's order."""
        return ordered_labels(self.runs)

    def of(self, label: str) -> list[Run]:
        """The runs of one method."""
        return [run for run in self.runs if run.label == label]

    def cell(self, label: str, task: str) -> Cell | None:
        """One method on one task; None without a run."""
        runs = self._on(label, task)
        return _cell({run.seed: run.scores[task] for run in runs}, {run.split for run in runs})

    def mean(self, label: str, tasks: Sequence[str] | None = None) -> Cell | None:
        """The mean over `tasks` (default: all) of each seed that has all of them, over seeds.

        Another mean would compare different tasks. None if no seed has all.
        """
        tasks = self.tasks if tasks is None else tasks
        found, splits = {}, set()
        for seed in self.full_seeds(label, tasks):
            runs = {task: run for task in tasks for run in self._on(label, task, seed)}
            found[seed] = statistics.fmean(runs[task].scores[task] for task in tasks)
            splits |= {run.split for run in runs.values()}
        return _cell(found, splits)

    def constant(self, task: str) -> float | None:
        """The score of always giving the most frequent label, mean over runs; None: not known."""
        told = [run.answers.get(task, {}).get(evaluated.CONSTANT) for run in self.runs]
        known = [score for score in told if score is not None]
        return statistics.fmean(known) if known else None

    def full_seeds(self, label: str, tasks: Sequence[str]) -> list[int]:
        """Seeds in which the method has a run on each of `tasks`."""
        of_task = [{run.seed for run in self._on(label, task)} for task in tasks]
        return sorted(set.intersection(*of_task))

    def tuned(self, label: str) -> float:
        """Tuned parameters per task; the most, where the runs of a method differ."""
        return max(run.tuned_per_task for run in self.of(label))

    def cost(self, label: str) -> Cost:
        """The mean cost of a method's runs; empty where none says what it has cost."""
        return recorded_costs.mean([run.cost for run in self.of(label)])

    def _on(self, label: str, task: str, seed: int | None = None) -> list[Run]:
        of_task = [run for run in self.of(label) if task in run.tasks]
        return [run for run in of_task if seed is None or run.seed == seed]


def settings(runs: Iterable[Run]) -> list[Setting]:
    """The settings: target runs by shots, ascending, all examples last; then source runs."""
    groups: dict[tuple[str, int | None], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.stage, run.shots), []).append(run)
    order = sorted(groups, key=lambda key: (key[0] != TARGET, key[1] is None, key[1] or 0))
    return [Setting(*key, tuple(_tell_joint_apart(groups[key]))) for key in order]


def ordered_labels(runs: Iterable[Run]) -> list[str]:
    """The methods by tuned parameters per task, the most first; then by name."""
    tuned: dict[str, float] = {}
    for run in runs:
        tuned[run.label] = max(run.tuned_per_task, tuned.get(run.label, 0))
    return sorted(tuned, key=lambda label: (-tuned[label], label))


def short_names(tasks: Sequence[str]) -> dict[str, str]:
    """Task -> its name without the words that all of `tasks` begin with ("mini_")."""
    prefix = ""
    while len(tasks) > 1:
        following = {task[len(prefix) :].partition("_")[0] for task in tasks}
        longer = prefix + following.pop() + "_"
        if following or not all(task.startswith(longer) for task in tasks):
            break
        prefix = longer
    return {task: task[len(prefix) :] for task in tasks}


def metric_name(runs: Iterable[Run]) -> str:
    """What the scores of `runs` are: their one metric, else "key metric"."""
    names = {metric for run in runs for metric in run.key_metrics.values()}
    return names.pop().replace("_", " ") if len(names) == 1 else "key metric"


def score_name(runs: Iterable[Run], tasks: Sequence[str]) -> str:
    """What a mean over `tasks` is, for an axis; of one task there is none to take."""
    over = "mean over tasks" if len(tasks) > 1 else tasks[0]
    return f"{metric_name(runs)}, {over} (%)"


def _cell(by_seed: dict[int, float], splits: Iterable[str]) -> Cell | None:
    if not by_seed:
        return None
    scores = list(by_seed.values())
    std = statistics.stdev(scores) if len(scores) > 1 else None
    return Cell(statistics.fmean(scores), std, len(scores), frozenset(splits))


def _tell_joint_apart(runs: list[Run]) -> list[Run]:
    """Joint runs on several tasks get their own row if the same method has single ones too."""
    sizes: dict[str, set[int]] = {}
    for run in runs:
        sizes.setdefault(run.label, set()).add(len(run.tasks))
    return [
        dataclasses.replace(run, label=f"{run.label}, {len(run.tasks)} tasks jointly")
        if len(sizes[run.label]) > 1 and len(run.tasks) > 1
        else run
        for run in runs
    ]
