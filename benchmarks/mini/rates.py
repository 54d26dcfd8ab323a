"""The learning rates of a plan's methods: the best of those that another plan has tried."""

import collections
import csv
import dataclasses
import pathlib
import re
import statistics
from collections.abc import Mapping

from mpt_jax.csv_text import csv_text
from mpt_jax.errors import UserError
from mpt_jax.report import folders, runs, tables
from mpt_jax.report.settings import settings
from mpt_jax.sweep import cells
from mpt_jax.sweep.plan import FULL, Method, Plan

_RATE = re.compile(r"(SHARED_|TASK_)?LEARNING_RATE=")
REGIME = "regime"


def chosen(plan: Plan, tried: Plan, means: Mapping[str, float]) -> Plan:
    """The plan with the best rates of the rows of `tried` in place of its own.

    A method's candidates have its gin files and none but its settings, apart from rates. Where some
    of them start from its source, only these count; so variants of a method take its rates.

    Args:
      plan: whose methods get rates.
      tried: the plan of the candidates.
      means: label of a candidate -> its mean score, of which the highest wins. Of those that are
        equal to a decimal, where only chance differs, the one nearest to the middle wins.

    Raises:
      UserError: a method without candidates, or a candidate without a score.
    """
    methods = tuple(_with_best_rate(method, tried, means) for method in plan.methods)
    return dataclasses.replace(plan, methods=methods)


def _with_best_rate(method: Method, tried: Plan, means: Mapping[str, float]) -> Method:
    rows = [m for m in tried.methods if m.files == method.files and _others(m) <= _others(method)]
    rows = [m for m in rows if m.source == method.source] or rows
    if not rows:
        raise UserError(f"{tried.name} has no rates for the method {method.label!r}.")
    if missing := [m.label for m in rows if m.label not in means]:
        raise UserError(
            f"{tried.name}: {missing[0]!r} has no score yet: run it first (--plans=rates)."
        )
    middle = (len(rows) - 1) / 2
    best = max(rows, key=lambda m: (round(means[m.label], 1), -abs(rows.index(m) - middle)))
    kept = [setting for setting in method.settings if not _RATE.match(setting)]
    found = [setting for setting in best.settings if _RATE.match(setting)]
    return dataclasses.replace(method, settings=(*kept, *found))


def _others(method: Method) -> set[str]:
    return {setting for setting in method.settings if not _RATE.match(setting)}


def read(path: pathlib.Path, regime: str) -> dict[str, float]:
    """Label of a candidate -> its mean validation score in the regime, of what `write` wrote.

    It is the mean over tasks and, of that, over the numbers of examples.
    """
    if not path.exists():
        return {}
    found = collections.defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if (line[REGIME], line["task"]) == (regime, "mean"):
                found[line["method"]].append(float(line["mean"]))
    return {label: statistics.fmean(means) for label, means in found.items()}


def write(path: pathlib.Path, tried: Plan, folder: pathlib.Path, regime: str) -> None:
    """Writes the tables that `t5x report` makes of the plan's runs, in place of the regime's lines.

    Args:
      path: of the CSV, which has the other regimes' lines.
      tried: the plan of the candidates, all finished.
      folder: of its runs.
      regime: the first column; the second one is the number of examples.
    """
    places = dict.fromkeys(str(run.folder) for run in cells.target_runs(tried, folder))
    found, _ = runs.read(folders.find(list(places)))
    new = []
    for setting in settings(found):
        head, *lines = csv.reader(tables.table_csv(setting).splitlines())
        shots = FULL if setting.shots is None else setting.shots
        new += [[regime, shots, *line] for line in lines]
    kept = []
    if path.exists():
        _, *old = csv.reader(path.read_text(encoding="utf-8").splitlines())
        kept = [line for line in old if line[0] != regime]
    path.write_text(csv_text([[REGIME, "shots", *head], *kept, *new]), encoding="utf-8")
