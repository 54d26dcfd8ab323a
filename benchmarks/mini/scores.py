"""The scores of a comparison's cells, one line each: from finished runs to CSV and back.

A line is the score of one task. A cell of a mixture, adapted to all of its tasks jointly, has one
line for each of them.
"""

import csv
import dataclasses
import pathlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mpt_jax import files, run_layout
from mpt_jax.csv_text import csv_text
from mpt_jax.engine.records import evaluated, recorded_costs
from mpt_jax.errors import UserError
from mpt_jax.sweep import cells, recorded
from mpt_jax.sweep.plan import FULL, Plan

_COSTS = (*recorded_costs.NUMBERS, recorded_costs.MEMORY_OF)
_HEAD = ("regime", "method", "task", "shots", "seed", "tuned_parameters", "score")
HEAD = (*_HEAD, evaluated.CONSTANT, *_COSTS)


@dataclasses.dataclass(frozen=True)
class Score:
    """A method's score on a task.

    Attributes:
      regime: of the backbone's pretraining.
      method, task, seed: of the cell.
      shots: a number of training examples as text, or FULL.
      tuned: numbers that were trained, per task.
      percent: the key metric on the plan's split.
      constant: the key metric of always giving the commonest answer, percent.
      cost: of the training, as `recorded_costs.of`; of a joint one, an equal share of the seconds.
    """

    regime: str
    method: str
    task: str
    shots: str
    seed: int
    tuned: int
    percent: float
    constant: float
    cost: recorded_costs.Cost = dataclasses.field(default_factory=dict)


def collect(
    plan: Plan, folder: pathlib.Path, regime: str, constants: Mapping[str, float]
) -> list[Score]:
    """The scores of the plan's finished cells.

    Args:
      plan: of the cells.
      folder: of its runs.
      regime: which backbone they have.
      constants: task -> what the commonest answer scores.

    Raises:
      UserError: a score is not a number, or its run was made with other settings than the plan's.
    """
    recorded.check(cells.all_runs(plan, folder))
    found = []
    for method in plan.methods:
        for task in plan.tasks:
            for shots in plan.shots:
                for seed in plan.seeds:
                    run = cells.target_run(plan, folder, method, task, shots, seed)
                    if run.is_finished():
                        cell = (regime, method.label, shots, seed)
                        found += _of_run(run, *cell, constants)
    return found


def _of_run(
    run: cells.Run,
    regime: str,
    method: str,
    shots: str,
    seed: int,
    constants: Mapping[str, float],
) -> list[Score]:
    record = files.read_json(run.folder / run_layout.RECORD)
    files.check_fields(record, {"tuned_parameters": int}, str(run.folder))
    percents = _percents(run)
    tuned = round(record["tuned_parameters"] / len(percents))
    cost = recorded_costs.of(record)
    shared = (recorded_costs.SECONDS, recorded_costs.STEP_SECONDS, recorded_costs.COMPILE_SECONDS)
    cost |= {name: cost[name] / len(percents) for name in shared if name in cost}
    return [
        Score(regime, method, task, shots, seed, tuned, percent, constants[task], cost)
        for task, percent in percents.items()
    ]


def _percents(run: cells.Run) -> dict[str, float]:
    """Task -> its key metric, as the evaluation of a run has found it.

    Raises:
      UserError: there is none.
    """
    found = files.read_json(run.scores)
    try:
        keys = found[evaluated.OF][evaluated.KEYS]
        return {task: float(found[task][key]) for task, key in keys.items()}
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{run.scores} has no key metric of each task: delete it.") from None


def write(path: pathlib.Path, scores: Iterable[Score]) -> None:
    """The CSV of the scores, under `HEAD`."""
    lines: list[Sequence[Any]] = [HEAD]
    for s in scores:
        numbers = (s.seed, s.tuned, f"{s.percent:.3f}", f"{s.constant:.3f}")
        costs = [_plain(s.cost.get(name, "")) for name in _COSTS]
        lines.append((s.regime, s.method, s.task, s.shots, *numbers, *costs))
    path.write_text(csv_text(lines), encoding="utf-8")


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def read(path: pathlib.Path) -> list[Score]:
    """What `write` has written; nothing where there is no such file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [_of_line(line) for line in csv.DictReader(file)]


def _of_line(line: dict[str, str]) -> Score:
    cost: recorded_costs.Cost = {
        name: float(line[name]) for name in recorded_costs.NUMBERS if line[name]
    }
    if line[recorded_costs.MEMORY_OF]:
        cost[recorded_costs.MEMORY_OF] = line[recorded_costs.MEMORY_OF]
    names = (line[name] for name in ("regime", "method", "task", "shots"))
    numbers = (float(line[name]) for name in ("score", evaluated.CONSTANT))
    return Score(*names, int(line["seed"]), int(line["tuned_parameters"]), *numbers, cost)


@dataclasses.dataclass(frozen=True)
class Group:
    """The scores of one method with one number of examples in one regime.

    Attributes:
      regime, method, shots: of all of them.
      tuned: numbers that were trained, per task; the most, where seeds differ.
      by_seed: seed -> task -> score, of the seeds that have all of the comparison's tasks: a mean
        over fewer would compare other tasks.
      left_out: seeds that have not.
      seconds: of a training run, mean; None where no run says it.
    """

    regime: str
    method: str
    shots: str
    tuned: int
    by_seed: dict[int, dict[str, float]]
    left_out: tuple[int, ...]
    seconds: float | None

    def means(self) -> list[float]:
        """The mean over tasks of each seed."""
        return [statistics.fmean(of_task.values()) for of_task in self.by_seed.values()]

    def of(self, task: str) -> list[float]:
        """The scores of a task, by seed."""
        return [of_task[task] for of_task in self.by_seed.values()]


def groups(scores: Sequence[Score]) -> list[Group]:
    """The groups: by regime and shots, methods in the order of the scores within each."""
    tasks = tasks_of(scores)
    methods = list(dict.fromkeys(s.method for s in scores))
    return [
        _group(found, tasks)
        for regime in regimes_of(scores)
        for shots in shots_of(scores)
        for method in methods
        if (
            found := [s for s in scores if (s.regime, s.shots, s.method) == (regime, shots, method)]
        )
    ]


def _group(scores: Sequence[Score], tasks: Sequence[str]) -> Group:
    by_seed: dict[int, dict[str, float]] = {}
    for s in sorted(scores, key=lambda s: (s.seed, s.task)):
        by_seed.setdefault(s.seed, {})[s.task] = s.percent
    whole = {seed: found for seed, found in by_seed.items() if len(found) == len(tasks)}
    first = scores[0]
    cost = recorded_costs.mean([s.cost for s in scores if s.seed in whole])
    return Group(
        first.regime,
        first.method,
        first.shots,
        max(s.tuned for s in scores),
        whole,
        tuple(seed for seed in by_seed if seed not in whole),
        cost.get(recorded_costs.SECONDS),
    )


def regimes_of(scores: Iterable[Score]) -> list[str]:
    """The regimes, in their order."""
    return list(dict.fromkeys(s.regime for s in scores))


def tasks_of(scores: Iterable[Score]) -> list[str]:
    """The tasks, in their order."""
    return list(dict.fromkeys(s.task for s in scores))


def shots_of(scores: Iterable[Score]) -> list[str]:
    """The numbers of shots, ascending, all examples last."""
    found = {s.shots for s in scores}
    return sorted(found, key=lambda shots: (shots == FULL, 0 if shots == FULL else int(shots)))


def constants_of(scores: Iterable[Score]) -> dict[str, float]:
    """Task -> what the commonest answer scores."""
    return {s.task: s.constant for s in scores}
