"""The table of source runs on the page of `real_data.py`: one prompt file, six tasks."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from real import constant_answer, corpora

from mpt_jax import files
from mpt_jax.csv_text import csv_text
from mpt_jax.engine.records import run_record
from mpt_jax.run_layout import TEACHERS
from mpt_jax.sweep import cells, table
from mpt_jax.sweep.plan import Plan

_NAMES = [corpus.name for corpus in corpora.SOURCES]


@dataclasses.dataclass(frozen=True)
class SourceRun:
    """What a source run has reached.

    Attributes:
      name: of the source, or "NAME/teachers".
      seed: of the run, as text; "" of the constant answer.
      tuned: numbers, for all tasks.
      accuracy: task -> percent on validation.
    """

    name: str
    seed: str
    tuned: int
    accuracy: Mapping[str, float]


def collect(plan: Plan, root: pathlib.Path) -> list[SourceRun]:
    """The plan's source runs and, last, the constant answer.

    Args:
      plan: whose runs are finished.
      root: folder of the runs and of the prepared corpora.

    Returns:
      Nothing where no method of the plan starts from a source run.
    """
    found = []
    for run in cells.source_runs(plan, root):
        name, _, seed = run.folder.name.rpartition("-")
        if (run.folder / TEACHERS).exists():
            found.append(_run(f"{name}/{TEACHERS}", seed, run.folder / TEACHERS))
        found.append(_run(name, seed, run.folder))
    if not found:
        return []
    constant = {
        corpus.name: constant_answer.of_label(root / "data", corpus, corpora.VALIDATION)
        for corpus in corpora.SOURCES
    }
    return [*found, SourceRun(constant_answer.NAME, "", 0, constant)]


def write(path: pathlib.Path, found: Sequence[SourceRun]) -> None:
    """Writes a line for each run as CSV."""
    body = [
        [run.name, run.seed, run.tuned, *(f"{run.accuracy[name]:.3f}" for name in _NAMES)]
        for run in found
    ]
    path.write_text(csv_text([["source run", "seed", "tuned", *_NAMES], *body]), encoding="utf-8")


def lines(found: Sequence[SourceRun]) -> list[str]:
    """A Markdown table: the mean over the seeds of each source run, and the constant answer."""
    body = []
    for name in dict.fromkeys(run.name for run in found):
        runs = [run for run in found if run.name == name]
        of_tasks = [[run.accuracy[task] for run in runs] for task in _NAMES]
        if name == constant_answer.NAME:
            scores = [f"{percent:.1f}" for (percent,) in of_tasks]
        else:
            scores = [table.mean_std(of_one) for of_one in of_tasks]
        body.append([name, f"{runs[0].tuned:,}", *scores])
    return table.markdown(["source run", "tuned, all six", *_NAMES], body)


def _run(name: str, seed: str, folder: pathlib.Path) -> SourceRun:
    tuned = files.read_json(folder / "run.json")["tuned_parameters"]
    found = run_record.evaluations(str(folder)).results()
    return SourceRun(name, seed, tuned, {task: found[task]["accuracy"] for task in _NAMES})
