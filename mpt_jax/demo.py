"""`make demo`: the paper's recipe on the embedded mini world, in a few minutes and offline.

Runs `t5x` as a user would type it, in subprocesses (source training, few-shot adaptation,
prompt tuning from scratch for comparison, evaluation, prediction), then prints a table and draws
the learning curves.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from mpt_jax.product import product_file

FOLDER = pathlib.Path("runs/demo")
TASK = "mini_news_nli"
SHOTS = 32
LINES = (
    "premise: on friday , the governor supported the ban in madrid . "
    "hypothesis: the governor supported the ban .",
    "premise: the judge resisted the law . hypothesis: the judge supported the law .",
    "premise: the mayor approved the fee . hypothesis: the mayor approved the fee on sunday .",
)


def main() -> None:
    """Run the whole recipe into `runs/demo`, which is deleted first."""
    console, start = Console(), time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    (FOLDER / "lines.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    target = [f"--gin.MIXTURE_OR_TASK_NAME={TASK}", f"--gin.FEW_SHOT={SHOTS}"]

    source = FOLDER / "source"
    cheap = "--gin_file=gin/suites/mini_teachers.gin"
    _t5x(console, "train", "gin/mpt_source.gin", cheap, MODEL_DIR=source)
    adapted = FOLDER / "mpt"
    _t5x(console, "train", "gin/mpt_target.gin", *target, MODEL_DIR=adapted, SOURCE_PROMPTS=source)
    scratch = FOLDER / "prompt_tuning"
    overlay = "--gin_file=gin/methods/prompt_tuning.gin"
    _t5x(console, "train", "gin/mpt_target.gin", overlay, *target, MODEL_DIR=scratch)
    for run in (adapted, scratch):
        _t5x(console, "eval", "gin/mpt_eval.gin", PROMPTS=run)
    predictions = FOLDER / "predictions.jsonl"
    _t5x(
        console,
        "infer",
        "gin/mpt_infer.gin",
        PROMPTS=adapted,
        INPUTS=FOLDER / "lines.txt",
        OUTPUT=predictions,
    )

    _print_predictions(console, predictions)
    _print_table(console, {"MPT": adapted, "prompt tuning from scratch": scratch})
    _draw({"MPT": adapted, "prompt tuning from scratch": scratch}, source)
    console.print(f"Learning curves: {FOLDER / 'learning_curves.png'}")
    console.print(f"Done in {time.monotonic() - start:.0f} s; the runs are in {FOLDER}.")


def _t5x(console: Console, command: str, gin_file: str, *arguments: str, **macros) -> None:
    overrides = [f"--gin.{name}={value}" for name, value in macros.items()]
    line = ["t5x", command, f"--gin_file={gin_file}", *arguments, *overrides]
    console.print(f"\n[bold]$ {' '.join(line)}[/bold]", soft_wrap=True)
    subprocess.run([sys.executable, "-m", "mpt_jax.cli", *line[1:]], check=True)


def _print_predictions(console: Console, path: pathlib.Path) -> None:
    table = Table("input", "prediction", title=f"\nPredictions of the adapted prompt ({TASK})")
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        table.add_row(record["input"], record["prediction"])
    console.print(table)


def _print_table(console: Console, runs: dict[str, pathlib.Path]) -> None:
    table = Table(
        "method", "tuned parameters per task", "accuracy", title=f"\n{TASK}, {SHOTS} examples, test"
    )
    for method, run in runs.items():
        bank, info = product_file.load(str(run))
        tuned = sum(leaf.size for leaf in bank.values()) // len(info.tasks)
        results = json.loads((run / "test" / "metrics.json").read_text(encoding="utf-8"))
        table.add_row(method, f"{tuned:,}", f"{results[TASK]['accuracy']:.1f} %")
    console.print(table)


def _draw(runs: dict[str, pathlib.Path], source: pathlib.Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for label, folder in (("teachers", source / "teachers"), ("MPT bank", source)):
        steps, losses = _curve(
            folder,
            "train",
            lambda x: np.mean([x[name] for name in x if name.startswith("task_loss/")]),
        )
        left.plot(steps, losses, label=label)
    left.set(title="Source training", xlabel="step", ylabel="loss per target token (nats)")
    for label, folder in runs.items():
        steps, scores = _curve(folder, "eval", lambda line: line[f"{TASK}/accuracy"])
        right.plot(steps, scores, marker="o", label=label)
    right.set(title=f"{TASK}, {SHOTS} examples", xlabel="step", ylabel="validation accuracy (%)")
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    figure.savefig(FOLDER / "learning_curves.png", dpi=130)


def _curve(folder: pathlib.Path, kind: str, value) -> tuple[list[int], list[float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    chosen = [line for line in lines if line["kind"] == kind]
    return [line["step"] for line in chosen], [value(line) for line in chosen]


if __name__ == "__main__":
    main()
