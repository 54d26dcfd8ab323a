"""The scores of a finished sweep as rows and a Markdown table."""

import pathlib
import statistics
from collections.abc import Sequence

from mpt_jax import files, run_layout
from mpt_jax.engine.records import recorded_costs
from mpt_jax.sweep import cells, recorded
from mpt_jax.sweep.plan import FULL, Plan

COSTS = ("method", *recorded_costs.HEAD)


def collect(plan: Plan, folder: pathlib.Path) -> list[dict]:
    """A record of each cell.

    Its method, task, shots and seed, its tuned parameters, its cost, and its key metric in percent,
    on the plan's split.

    Raises:
        UserError: a cell is not finished, its score is not a number, or it was made with other
            settings than the plan's.
    """
    recorded.check(cells.all_runs(plan, folder))
    records = []
    for method in plan.methods:
        for task in plan.tasks:
            for k in plan.shots:
                for seed in plan.seeds:
                    run = cells.target_run(plan, folder, method, task, k, seed)
                    record = files.read_json(run.folder / run_layout.RECORD)
                    files.check_fields(record, {"tuned_parameters": int}, f"{run.folder}")
                    tuned, score = record["tuned_parameters"], run.score()
                    cell = {"method": method.label, "task": task, "shots": k, "seed": seed}
                    found = {"tuned_parameters": tuned, "cost": recorded_costs.of(record)}
                    records.append({**cell, **found, "score": score})
    return records


def head(names: Sequence[str]) -> list[str]:
    """What stands over `rows`, given the names of the plan's tasks."""
    return ["method", "tuned / task", *names, "mean"]


def rows(plan: Plan, records: Sequence[dict], shots: str) -> list[list[str]]:
    """A row per method, under `head`: mean ± std over seeds for each task and for their mean."""
    found = []
    for method in plan.methods:
        of_method = [r for r in records if (r["method"], r["shots"]) == (method.label, shots)]
        row = [method.label, f"{max(r['tuned_parameters'] for r in of_method):,}"]
        for task in plan.tasks:
            row.append(mean_std([r["score"] for r in of_method if r["task"] == task]))
        by_seed = {}
        for r in of_method:
            by_seed.setdefault(r["seed"], []).append(r["score"])
        row.append(f"**{mean_std([statistics.mean(s) for s in by_seed.values()])}**")
        found.append(row)
    return found


def costs(plan: Plan, records: Sequence[dict], shots: str) -> list[list[str]]:
    """A row per method, under `COSTS`: the mean cost of its runs; none where no run says it."""
    found = []
    for method in plan.methods:
        of_method = [r for r in records if (r["method"], r["shots"]) == (method.label, shots)]
        cost = recorded_costs.mean([r["cost"] for r in of_method])
        found.append([method.label, *recorded_costs.texts(cost)])
    return found if any(any(row[1:]) for row in found) else []


def mean_std(scores: Sequence[float]) -> str:
    """Mean ± sample standard deviation, which is 0 for a single score."""
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    return f"{statistics.mean(scores):.1f} ± {spread:.1f}"


def markdown(titles: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [f"| {' | '.join(row)} |" for row in [titles, *body]]
    return [lines[0], "|---" * len(titles) + "|", *lines[1:]]


def title(shots: str) -> str:
    """The heading over a table."""
    return "All training examples" if shots == FULL else f"{shots} training examples"
