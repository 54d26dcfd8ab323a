"""The tables: method × task of each setting, every score, and the runs that are left out."""

import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from mpt_jax.csv_text import csv_text
from mpt_jax.engine.records import evaluated, recorded_costs
from mpt_jax.report.runs import Problem, Run
from mpt_jax.report.settings import Cell, Setting, ordered_labels

_OF_ANSWERS = (evaluated.SAME, evaluated.CONSTANT)


@dataclasses.dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        label: its name.
        tuned: parameters per task.
        cells: one per column; None: no run.
        best: which of the cells are the best of their column.
        tied: which are, with others, not told apart from the best.
        seeds: the most that a cell has.
    """

    label: str
    tuned: float
    cells: tuple[Cell | None, ...]
    best: tuple[bool, ...]
    tied: tuple[bool, ...]
    seeds: int


def columns(setting: Setting) -> list[str]:
    """The columns of a setting's table: its tasks and, of several, "mean"."""
    return [*setting.tasks, "mean"] if len(setting.tasks) > 1 else setting.tasks


def rows(setting: Setting) -> list[Row]:
    """The rows of a setting's table, in the report's order of methods."""
    body = {
        label: [
            *(setting.cell(label, task) for task in setting.tasks),
            *([setting.mean(label)] if len(setting.tasks) > 1 else []),
        ]
        for label in setting.labels
    }
    top = [_top(column) for column in zip(*body.values(), strict=True)]
    return [
        Row(
            label,
            setting.tuned(label),
            tuple(cells),
            tuple(len(t) == 1 and cell in t for cell, t in zip(cells, top, strict=True)),
            tuple(len(t) > 1 and cell in t for cell, t in zip(cells, top, strict=True)),
            max(cell.seeds for cell in cells if cell),
        )
        for label, cells in body.items()
    ]


def _top(column: Sequence[Cell | None]) -> list[Cell]:
    """The best of a column, and those that are not told apart from it.

    These are shown as equal, or their deviation overlaps with the best one's; a single seed has
    none. Validation scores are chosen to be high, so they compete only where there are no others.
    Of a single score nothing is said.
    """
    cells = [cell for cell in column if cell]
    if len(cells) < 2:
        return []
    cells = [cell for cell in cells if not cell.validation] or cells
    top = max(cells, key=lambda cell: cell.mean)
    low = top.mean - (top.std or 0)
    return [
        cell
        for cell in cells
        if cell.mean + (cell.std or 0) >= low or f"{cell.mean:.1f}" == f"{top.mean:.1f}"
    ]


def constant_row(setting: Setting) -> list[float | None]:
    """Under `columns`: what always giving the most frequent label scores; None: not known."""
    found = [setting.constant(task) for task in setting.tasks]
    if len(found) == 1:
        return found
    known = [score for score in found if score is not None]
    return [*found, statistics.fmean(known) if len(known) == len(found) else None]


def table_csv(setting: Setting) -> str:
    """A setting's table: a line per method and column ("mean": over tasks), full precision."""
    head = ["method", "tuned_parameters_per_task", "task", "mean", "std", "seeds", "split"]
    lines = [[*head, evaluated.CONSTANT]]
    constants = ["" if score is None else f"{score:.4f}" for score in constant_row(setting)]
    for row in rows(setting):
        for task, cell, constant in zip(columns(setting), row.cells, constants, strict=True):
            start = [row.label, f"{row.tuned:.10g}", task]
            if cell is None:
                lines.append([*start, "", "", 0, "", constant])
                continue
            std = "" if cell.std is None else f"{cell.std:.4f}"
            split = " and ".join(sorted(cell.splits))
            lines.append([*start, f"{cell.mean:.4f}", std, cell.seeds, split, constant])
    return csv_text(lines)


def runs_csv(runs: Iterable[Run]) -> str:
    """Every score: a line per run and task."""
    runs = list(runs)
    order = ordered_labels(runs)
    head = "stage method shots task metric seed split score tuned_parameters_per_task steps"
    lines = [[*head.split(), "batch_size", *_OF_ANSWERS, "folder"]]
    for run in sorted(runs, key=lambda r: (r.stage, order.index(r.label), r.folder)):
        shots = "all" if run.shots is None else run.shots
        for task in run.tasks:
            start = [run.stage, run.label, shots, task, run.key_metrics[task], run.seed, run.split]
            numbers = [f"{run.scores[task]:.4f}", f"{run.tuned_per_task:.10g}"]
            told = run.answers.get(task, {})
            answers = [f"{told[n]:.4f}" if n in told else "" for n in _OF_ANSWERS]
            lines.append([*start, *numbers, run.steps, run.batch_size, *answers, run.folder])
    return csv_text(lines)


def costs_csv(found: Iterable[Setting]) -> str:
    """The mean cost of a run: a line per setting and method, in seconds and bytes."""
    names = (*recorded_costs.NUMBERS, recorded_costs.MEMORY_OF)
    lines: list[list[Any]] = [[*["stage", "method", "shots", "tuned_parameters_per_task"], *names]]
    for setting in found:
        shots = "all" if setting.shots is None else setting.shots
        for label in setting.labels:
            cost = setting.cost(label)
            start = [setting.stage, label, shots, f"{setting.tuned(label):.10g}"]
            lines.append([*start, *(_plain(cost.get(name, "")) for name in names)])
    return csv_text(lines)


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.10g}"


def confusion_csv(runs: Iterable[Run]) -> str:
    """The scores of each label, in percent, of the runs that have a confusion."""
    head = "stage method shots task seed split label precision recall f1 support folder"
    lines: list[list[Any]] = [head.split()]
    for run in runs:
        shots = "all" if run.shots is None else run.shots
        for task, found in run.confusions.items():
            start = [run.stage, run.label, shots, task, run.seed, run.split]
            for label, scores in zip(found.labels, found.scores, strict=True):
                numbers = [*(f"{score:.4f}" for score in scores[:3]), int(scores[3])]
                lines.append([*start, label, *numbers, run.folder])
    return csv_text(lines)


def problems_csv(problems: Iterable[Problem]) -> str:
    """What the report leaves out."""
    return csv_text([["folder", "status", "reason"], *map(dataclasses.astuple, problems)])
