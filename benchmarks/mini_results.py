"""The mini suite's comparison: MPT, its ablations and prompt tuning, few-shot and full data.

    python benchmarks/mini_results.py

runs the plan gin/sweeps/mini.toml as `t5x sweep` does, and writes docs/mini_results.md and .csv,
in two to three hours on 2 CPU cores. Finished cells are kept, so an interrupted run resumes.
Afterwards benchmarks/mini_figure.py draws the README's picture again.
"""

import argparse
import os
import pathlib
from collections.abc import Sequence

from mpt_jax.errors import run_script
from mpt_jax.sweep import cells, command, plan_file, table
from mpt_jax.sweep.plan import Plan

PLAN = "gin/sweeps/mini.toml"


def write(plan: Plan, records: list[dict], path: pathlib.Path, note: str) -> None:
    """docs/mini_results.md, and the cells as CSV next to it."""
    lines = [
        "# Results on the mini suite",
        "",
        "Written by `python benchmarks/mini_results.py`: do not edit. Key metric of each task on",
        "its test split (accuracy; Pearson for similarity, Matthews for acceptability, BLEU for",
        "data2text), in percent, mean ± standard deviation over "
        f"{len(plan.seeds)} seeds. A seed decides the source",
        "run, the draw of the k training examples and the order of the data. All methods take the",
        "same steps on the same batches (100 for k examples, 200 for all), and keep the prompt of",
        "the best validation score. Adapters, BitFit and full fine-tuning learn at the best of",
        "three rates on four of the targets, the others at the paper's.",
        "",
        note,
    ]
    names = [task.removeprefix("mini_") for task in plan.tasks]
    for k in plan.shots:
        body = table.rows(plan, records, k)
        lines += ["", f"## {table.title(k)}", ""]
        lines += table.markdown(table.head(names), body)
        if costs := table.costs(plan, records, k):
            lines += ["", "Cost of a training run, mean over runs:", ""]
            lines += table.markdown(table.COSTS, costs)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    table.write_csv(records, path.with_suffix(".csv"))


def main(given: Sequence[str] | None = None) -> int:
    """Parse arguments, train, write the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/mini_results"))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs/mini_results.md"))
    args = parser.parse_args(given)
    folder = args.folder.absolute()
    plan = plan_file.load(PLAN)
    cells.check(plan, folder)
    left = cells.left_of(cells.all_runs(plan, folder))
    if status := command.finish(left, args.processes, folder):
        return status
    targets, sources = cells.target_runs(plan, folder), cells.source_runs(plan, folder)
    note = (
        f"{len(targets)} target runs and {len(sources)} source runs on {os.cpu_count()} CPU cores."
    )
    write(plan, table.collect(plan, folder), args.out, note)
    print(args.out.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    run_script(main)
