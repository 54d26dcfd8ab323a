"""The few-shot curves of the README, drawn from the cells of the mini suite's comparison.

    python benchmarks/mini_figure.py

reads docs/mini_results.csv and writes docs/mini_few_shot.svg, in a few seconds. The picture is the
one that `t5x report` draws of run folders.
"""

import argparse
import csv
import pathlib
from collections.abc import Sequence

import matplotlib

from mpt_jax.errors import run_script
from mpt_jax.report import scores, style
from mpt_jax.report.runs import TARGET, TEST, Run
from mpt_jax.report.settings import ordered_labels, settings
from mpt_jax.sweep.plan import FULL

INCHES = (8.5, 5.2)  # narrower than a report, so that its text can be read on a README's page


def runs(path: pathlib.Path) -> list[Run]:
    """A run for each cell of a CSV that `mpt_jax.sweep.table.write_csv` has written."""
    with path.open(encoding="utf-8", newline="") as file:
        return [_run(cell) for cell in csv.DictReader(file)]


def _run(cell: dict[str, str]) -> Run:
    """What the CSV does not say, and the curves do not show, is left empty."""
    task = cell["task"]
    return Run(
        folder="",
        stage=TARGET,
        label=cell["method"],
        tasks=(task,),
        key_metrics={task: "key metric"},
        shots=None if cell["shots"] == FULL else int(cell["shots"]),
        seed=int(cell["seed"]),
        steps=0,
        batch_size=0,
        tuned_per_task=float(cell["tuned_parameters"]),
        split=TEST,
        scores={task: float(cell["score"])},
        confusions={},
        rows={},
        train_rows={},
        answers={},
        backbone="",
        day="",
        validation={},
        losses={},
        cost={},
        bank={},
        bank_tasks=(),
    )


def draw(found: Sequence[Run]) -> bytes:
    """The curves as SVG: the mean over tasks of each method, with its band over seeds."""
    with matplotlib.rc_context(style.RC):
        picture = scores.few_shot(settings(found), style.looks(ordered_labels(found)))[0]
    picture.figure.set_size_inches(*INCHES)
    svg, _ = style.render(picture)
    return svg


def main(given: Sequence[str] | None = None) -> int:
    """Parse arguments, draw, write the picture; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    path = pathlib.Path
    parser.add_argument("--cells", type=path, default=path("docs/mini_results.csv"))
    parser.add_argument("--out", type=path, default=path("docs/mini_few_shot.svg"))
    args = parser.parse_args(given)
    args.out.write_bytes(draw(runs(args.cells)))
    print(args.out)
    return 0


if __name__ == "__main__":
    run_script(main)
