"""The tables: method × task of each setting, every score, and the runs that are left out."""

import dataclasses
from collections.abc import Iterable, Sequence

from mpt_jax.csv_text import csv_text
from mpt_jax.report.runs import Problem, Run
from mpt_jax.report.settings import Cell, Setting, ordered_labels


@dataclasses.dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        label: its name.
        tuned: parameters per task.
        cells: one per task of the table, then that of the mean over tasks; None: no run.
        best: which of the cells are the best of their column.
        seeds: the most that a cell has.
    """

    label: str
    tuned: float
    cells: tuple[Cell | None, ...]
    best: tuple[bool, ...]
    seeds: int


def rows(setting: Setting) -> list[Row]:
    """The rows of a setting's table, in the report's order of methods."""
    body = {
        label: [*(setting.cell(label, task) for task in setting.tasks), setting.mean(label)]
        for label in setting.labels
    }
    best = [_best(column) for column in zip(*body.values(), strict=True)]
    return [
        Row(
            label,
            setting.tuned(label),
            tuple(cells),
            tuple(cell is not None and _shown(cell) in best[i] for i, cell in enumerate(cells)),
            max(cell.seeds for cell in cells if cell),
        )
        for label, cells in body.items()
    ]


def _shown(cell: Cell) -> tuple[str, bool]:
    """The mean as it is shown, and whether it is marked as validation."""
    return f"{cell.mean:.1f}", cell.validation


def _best(column: Sequence[Cell | None]) -> set[tuple[str, bool]]:
    """The best of a column as it is shown; equal ones share it.

    Validation scores are chosen to be high, so they compete only where there are no others. Of
    a single one nothing is said.
    """
    cells = [cell for cell in column if cell]
    if len(cells) < 2:
        return set()
    cells = [cell for cell in cells if not cell.validation] or cells
    top = max(cell.mean for cell in cells)
    return {_shown(cell) for cell in cells if f"{cell.mean:.1f}" == f"{top:.1f}"}


def table_csv(setting: Setting) -> str:
    """A setting's table: a line per method and task ("mean": over tasks), full precision."""
    lines = [["method", "tuned_parameters_per_task", "task", "mean", "std", "seeds", "split"]]
    for row in rows(setting):
        for task, cell in zip([*setting.tasks, "mean"], row.cells, strict=True):
            start = [row.label, f"{row.tuned:.10g}", task]
            if cell is None:
                lines.append([*start, "", "", 0, ""])
                continue
            std = "" if cell.std is None else f"{cell.std:.4f}"
            split = " and ".join(sorted(cell.splits))
            lines.append([*start, f"{cell.mean:.4f}", std, cell.seeds, split])
    return csv_text(lines)


def runs_csv(runs: Iterable[Run]) -> str:
    """Every score: a line per run and task."""
    runs = list(runs)
    order = ordered_labels(runs)
    head = "stage method shots task metric seed split score tuned_parameters_per_task steps"
    lines = [[*head.split(), "batch_size", "folder"]]
    for run in sorted(runs, key=lambda r: (r.stage, order.index(r.label), r.folder)):
        for task in run.tasks:
            lines.append(
                [
                    run.stage,
                    run.label,
                    "all" if run.shots is None else run.shots,
                    task,
                    run.key_metrics[task],
                    run.seed,
                    run.split,
                    f"{run.scores[task]:.4f}",
                    f"{run.tuned_per_task:.10g}",
                    run.steps,
                    run.batch_size,
                    run.folder,
                ]
            )
    return csv_text(lines)


def problems_csv(problems: Iterable[Problem]) -> str:
    """What the report leaves out."""
    return csv_text([["folder", "status", "reason"], *map(dataclasses.astuple, problems)])
