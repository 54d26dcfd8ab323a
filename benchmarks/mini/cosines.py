"""Cosines between the prompts that source runs have composed for their tasks; as CSV."""

import csv
import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from mpt_jax.csv_text import csv_text
from mpt_jax.errors import UserError
from mpt_jax.report import folders, runs, similarity
from mpt_jax.report.settings import settings
from mpt_jax.sweep import cells
from mpt_jax.sweep.plan import Plan

SOURCE = "mpt"
HEAD = ("regime", "task", "other", "cosine", "seeds")


@dataclasses.dataclass(frozen=True, eq=False)
class Cosines:
    """Of a regime: between tasks, [K, K], the mean over seeds."""

    regime: str
    tasks: tuple[str, ...]
    values: np.ndarray
    seeds: int


def collect(plan: Plan, folder: pathlib.Path, regime: str) -> list[Cosines]:
    """Of the plan's finished source runs SOURCE, in a list; an empty one without any.

    Raises:
      UserError: one of them cannot be read.
    """
    found = [run for run in cells.source_runs(plan, folder) if run.is_finished()]
    places = [str(run.folder) for run in found if run.folder.name.startswith(f"{SOURCE}-")]
    if not places:
        return []
    read, problems = runs.read(folders.find(places))
    if problems:
        raise UserError(f"{problems[0].folder}: {problems[0].reason}")
    (setting,) = settings(read)
    (one,) = similarity.of_setting(setting, of_factors=False)
    return [Cosines(regime, one.tasks, one.values, one.seeds)]


def write(path: pathlib.Path, found: Sequence[Cosines]) -> None:
    """A line for each two tasks of a regime, in both orders."""
    lines = [
        (one.regime, task, other, f"{one.values[i, j]:.3f}", one.seeds)
        for one in found
        for i, task in enumerate(one.tasks)
        for j, other in enumerate(one.tasks)
    ]
    path.write_text(csv_text([HEAD, *lines]), encoding="utf-8")


def read(path: pathlib.Path) -> list[Cosines]:
    """What `write` has written; nothing where there is no such file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    found = []
    for regime in dict.fromkeys(line["regime"] for line in lines):
        part = [line for line in lines if line["regime"] == regime]
        tasks = tuple(dict.fromkeys(line["task"] for line in part))
        values = np.array([float(line["cosine"]) for line in part]).reshape(len(tasks), -1)
        found.append(Cosines(regime, tasks, values, int(part[0]["seeds"])))
    return found
