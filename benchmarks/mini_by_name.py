"""What each mini backbone knows of the targets without any tuning, asked by the task's name.

    python benchmarks/mini_by_name.py --pretrained runs/mini_results/pretrained

answers the test rows of every target with the two backbones of docs/results.md and no prompt, with
the task's name in front, as the seen backbone has read it, and without. Writes
docs/mini_by_name.csv, in a few minutes on 2 cores.
"""

import argparse
import pathlib
from collections.abc import Sequence

from mini import by_name, key_metric, regimes

import mpt_jax
import mpt_jax.tasks.mini  # registers the tasks
from mpt_jax import assets, process
from mpt_jax.csv_text import csv_text
from mpt_jax.errors import run_script
from mpt_jax.tasks.mini.suite import TARGETS

HEAD = ("regime", *by_name.HEAD)
NAMES = {task: task.removeprefix("mini_") for task in TARGETS}  # as the pretraining has them


def main(given: Sequence[str] | None = None) -> int:
    """Parse arguments, answer, write the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    path = pathlib.Path
    parser.add_argument("--pretrained", type=path, default=path("runs/mini_results/pretrained"))
    parser.add_argument("--out", type=path, default=path("docs/mini_by_name.csv"))
    args = parser.parse_args(given)
    process.tune()
    vocabulary = assets.path("mini/spiece.model")
    lengths = by_name.lengths(["gin/suites/mini_target.gin"])
    lines = [HEAD]
    backbones = {regimes.UNSEEN: "mini", regimes.SEEN: str(args.pretrained / "backbone")}
    for regime, backbone in backbones.items():
        model = mpt_jax.load(backbone, vocabulary=vocabulary, lengths=lengths, batch_size=100)
        lines += [(regime, *line) for line in by_name.lines(model, NAMES, key_metric.score)]
    args.out.write_text(csv_text(lines), encoding="utf-8")
    print(args.out)
    return 0


if __name__ == "__main__":
    run_script(main)
