"""What each mini backbone knows of the targets without any tuning, asked by the task's name.

    python benchmarks/mini_by_name.py --pretrained runs/mini_results/pretrained

answers the test rows of every target with the two backbones of docs/results.md and no prompt, with
the task's name in front, as the seen backbone has read it, and without. Writes
docs/mini_by_name.csv, in a few minutes on 2 cores.
"""

import argparse
import pathlib
import statistics
from collections.abc import Sequence

from mini import key_metric, regimes

import mpt_jax
import mpt_jax.tasks.mini  # registers the tasks
from mpt_jax import assets, process
from mpt_jax.api import LoadedModel
from mpt_jax.csv_text import csv_text
from mpt_jax.errors import run_script
from mpt_jax.tasks.mini.suite import TARGETS

LENGTHS = {"inputs": 64, "targets": 24}  # of gin/suites/mini_target.gin
HEAD = ("regime", "task", "with its name", "without")


def score(model: LoadedModel, name: str, prefix: str) -> float:
    """The key metric of a target, percent, where `prefix` is before each input."""

    def answer(inputs: list[str], words: list[str]) -> list[str]:
        del words
        return model.predict([prefix + text for text in inputs])

    return key_metric.score(name, answer)


def main(given: Sequence[str] | None = None) -> int:
    """Parse arguments, answer, write the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    path = pathlib.Path
    parser.add_argument("--pretrained", type=path, default=path("runs/mini_results/pretrained"))
    parser.add_argument("--out", type=path, default=path("docs/mini_by_name.csv"))
    args = parser.parse_args(given)
    process.tune()
    vocabulary = assets.path("mini/spiece.model")
    lines = [HEAD]
    backbones = {regimes.UNSEEN: "mini", regimes.SEEN: str(args.pretrained / "backbone")}
    for regime, backbone in backbones.items():
        model = mpt_jax.load(backbone, vocabulary=vocabulary, lengths=LENGTHS, batch_size=100)
        found = {}
        for name in TARGETS:
            prefix = f"{name.removeprefix('mini_')} "
            found[name] = (score(model, name, prefix), score(model, name, ""))
        found["mean"] = [statistics.mean(column) for column in zip(*found.values(), strict=True)]
        for name, scores in found.items():
            lines.append((regime, name, *(f"{value:.3f}" for value in scores)))
            print(*lines[-1], sep="  ", flush=True)
    args.out.write_text(csv_text(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    run_script(main)
