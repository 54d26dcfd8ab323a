"""What pages say of the scores: means, differences to MPT and how sure they are; as CSV.

A line is a method with one number of examples in one regime, its `task` a target or, for the mean
over targets, MEAN. The difference of the latter is to BASE at the same targets and seeds. In lines
of the regime CONTRAST, the difference is that in SEEN less that in UNSEEN.
"""

import csv
import dataclasses
import pathlib
import statistics
from collections.abc import Sequence

import numpy as np
from mini import pigeonhole, scores
from mini.regimes import SEEN, UNSEEN
from mini.scores import Group, Score

from mpt_jax.csv_text import csv_text

BASE = "MPT"
CONSTANT = "constant answer"
MEAN = "mean"
CONTRAST = f"{SEEN} - {UNSEEN}"
BETTER, WORSE, OPEN = "better", "worse", "open"  # verdicts
LARGER, SMALLER = "larger", "smaller"  # of a CONTRAST


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of the summary; what it does not have is None.

    Attributes:
      regime, shots, method, task: of what.
      tuned: numbers that were trained, per task.
      seeds: those that have every target.
      mean: percent.
      std: sample standard deviation over seeds; None for fewer than two.
      seconds: of a training run.
      difference: to BASE, mean over targets and those seeds that both have.
      low, high: its interval, `pigeonhole.interval`; None for fewer than two seeds or targets.
      verdict: BETTER or WORSE where the interval excludes 0, else OPEN; "" without an interval.
    """

    regime: str
    shots: str
    method: str
    task: str
    tuned: int | None = None
    seeds: int | None = None
    mean: float | None = None
    std: float | None = None
    seconds: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: str = ""


HEAD = tuple(field.name for field in dataclasses.fields(Line))


def lines(found: Sequence[Score]) -> list[Line]:
    """The summary of a comparison's scores; methods without a seed that has every target lack."""
    groups = [group for group in scores.groups(found) if group.by_seed]
    tasks = scores.tasks_of(found)
    made = []
    for regime in scores.regimes_of(found):
        for shots in scores.shots_of(found):
            part = {g.method: g for g in groups if (g.regime, g.shots) == (regime, shots)}
            for group in part.values():
                made += _of_group(group, part.get(BASE), tasks)
            if part:
                made += _constants(found, regime, shots, tasks)
    return [*made, *_contrasts(groups)]


def _of_group(group: Group, base: Group | None, tasks: Sequence[str]) -> list[Line]:
    start = {"regime": group.regime, "shots": group.shots, "method": group.method}
    start |= {"tuned": group.tuned, "seeds": len(group.by_seed)}
    difference = {}
    if base is not None and group is not base:
        difference = _judged(_differences(group, base), BETTER, WORSE)
    of_tasks = [Line(**start, task=task, **_spread(group.of(task))) for task in tasks]
    mean = Line(**start, task=MEAN, **_spread(group.means()), seconds=group.seconds, **difference)
    return [*of_tasks, mean]


def _spread(values: Sequence[float]) -> dict[str, float]:
    several = {"std": statistics.stdev(values)} if len(values) > 1 else {}
    return {"mean": statistics.fmean(values), **several}


def _differences(group: Group, base: Group) -> np.ndarray:
    """[S, T]: of the seeds that both have × targets."""
    seeds = [seed for seed in group.by_seed if seed in base.by_seed]
    return np.array(
        [
            [group.by_seed[seed][task] - base.by_seed[seed][task] for task in base.by_seed[seed]]
            for seed in seeds
        ]
    ).reshape(len(seeds), -1)


def _judged(table: np.ndarray, above: str, below: str) -> dict:
    """The fields of a difference, given it at each [seed, target]."""
    if not table.size:
        return {}
    found = {"difference": float(table.mean())}
    if min(table.shape) < 2:
        return found
    low, high = pigeonhole.interval(table)
    verdict = above if low > 0 else below if high < 0 else OPEN
    return {**found, "low": low, "high": high, "verdict": verdict}


def _constants(found: Sequence[Score], regime: str, shots: str, tasks: Sequence[str]) -> list[Line]:
    known = scores.constants_of(found)
    values = {**{task: known[task] for task in tasks}, MEAN: statistics.fmean(known.values())}
    return [Line(regime, shots, CONSTANT, task, tuned=0, mean=x) for task, x in values.items()]


def _contrasts(groups: Sequence[Group]) -> list[Line]:
    """How a method's difference to BASE changes from UNSEEN to SEEN, at the same targets, seeds."""
    by_name = {(g.regime, g.shots, g.method): g for g in groups}
    made = []
    for regime, shots, method in by_name:
        names = [(r, shots, m) for r in (SEEN, UNSEEN) for m in (method, BASE)]
        if regime != SEEN or method == BASE or not all(name in by_name for name in names):
            continue
        four = [by_name[name] for name in names]
        seeds = set.intersection(*(set(group.by_seed) for group in four))
        four = [
            dataclasses.replace(g, by_seed={s: g.by_seed[s] for s in sorted(seeds)}) for g in four
        ]
        table = _differences(*four[:2]) - _differences(*four[2:])
        judged = _judged(table, LARGER, SMALLER)
        made.append(Line(CONTRAST, shots, method, MEAN, seeds=len(seeds), **judged))
    return made


def write(path: pathlib.Path, found: Sequence[Line]) -> None:
    """The lines as CSV, under `HEAD`, percent with three decimals."""
    body = [[_text(getattr(line, name)) for name in HEAD] for line in found]
    path.write_text(csv_text([HEAD, *body]), encoding="utf-8")


def _text(value: float | str | None) -> str | int:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else value


def read(path: pathlib.Path) -> list[Line]:
    """What `write` has written."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Line(**_of_line(line)) for line in csv.DictReader(file)]


def _of_line(line: dict[str, str]) -> dict:
    kinds = {"tuned": int, "seeds": int}
    texts = ("regime", "shots", "method", "task", "verdict")
    return {
        name: text if name in texts else kinds.get(name, float)(text)
        for name, text in line.items()
        if text or name in texts
    }
