"""The scores of a finished sweep as rows, a Markdown table and CSV."""

import csv
import json
import pathlib
import statistics
from collections.abc import Sequence

from mpt_jax.sweep import cells
from mpt_jax.sweep.plan import FULL, Plan


def collect(plan: Plan, folder: pathlib.Path) -> list[dict]:
    """One record per cell: method, task, shots, seed, and its key metric on test in percent."""
    records = []
    for method in plan.methods:
        for task in plan.tasks:
            for k in plan.shots:
                for seed in plan.seeds:
                    run = cells.target_run(plan, folder, method, task, k, seed)
                    results = json.loads(run.scores.read_text(encoding="utf-8"))
                    score = results["mean"]["key_metric"]
                    cell = {"method": method.label, "task": task, "shots": k, "seed": seed}
                    records.append({**cell, "score": score})
    return records


def rows(plan: Plan, records: Sequence[dict], shots: str) -> list[list[str]]:
    """A row per method: its label, mean ± std over seeds for each task, and the mean over tasks."""
    found = []
    for method in plan.methods:
        row = [method.label]
        of_method = [r for r in records if (r["method"], r["shots"]) == (method.label, shots)]
        for task in plan.tasks:
            row.append(mean_std([r["score"] for r in of_method if r["task"] == task]))
        by_seed = {}
        for r in of_method:
            by_seed.setdefault(r["seed"], []).append(r["score"])
        row.append(f"**{mean_std([statistics.mean(s) for s in by_seed.values()])}**")
        found.append(row)
    return found


def mean_std(scores: Sequence[float]) -> str:
    """Mean ± sample standard deviation, which is 0 for a single score."""
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    return f"{statistics.mean(scores):.1f} ± {spread:.1f}"


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [f"| {' | '.join(row)} |" for row in [head, *body]]
    return [lines[0], "|---" * len(head) + "|", *lines[1:]]


def title(shots: str) -> str:
    """The heading over a table."""
    return "All training examples" if shots == FULL else f"{shots} training examples"


def write_csv(records: Sequence[dict], path: pathlib.Path) -> None:
    """Every cell, one line each."""
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, ["method", "task", "shots", "seed", "score"])
        writer.writeheader()
        writer.writerows({**r, "score": f"{r['score']:.3f}"} for r in records)
