"""Finds, before the first run, the tasks, splits and numbers of examples that there are not.

This takes SeqIO and the tasks' modules, and reads the data, so it is done in a separate process:
the sweep itself stays small compared with its workers.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

from mpt_jax import process
from mpt_jax.errors import UserError
from mpt_jax.sweep import cells
from mpt_jax.sweep.plan import Plan

# As for the workers: the working directory comes last among the places of modules.
_PROGRAM = [sys.executable, "-P", "-m", "mpt_jax.sweep.data_check"]
_MOST_SHOWN = 5
# What a command reads: arguments of the function that it calls.
_DATASETS = {
    "train": ("mpt_jax.t5x.train", "train", ("train_dataset_cfg", "infer_eval_dataset_cfg")),
    "eval": ("mpt_jax.t5x.eval", "evaluate", ("dataset_cfg",)),
}

Job = tuple[str, str, Sequence[str], Sequence[str]]  # a run; command, gin files and overrides


def check(plan: Plan, folder: pathlib.Path) -> None:
    """Reads what a run of every kind would read.

    Raises:
        UserError: unknown tasks, splits that a task lacks, more shots than rows, data that cannot
            be read; the message names the runs.
    """
    kinds = cells.kinds(plan, folder)
    jobs = [(run.name, step.command, step.files, step.overrides) for run, step in kinds]
    done = subprocess.run(
        _PROGRAM, input=json.dumps(jobs), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(
            f"{plan.name}: its data cannot be read (status {done.returncode}):\n{done.stderr}"
        )
    faults = json.loads(done.stdout.splitlines()[-1])
    if faults:
        raise UserError(f"{plan.name}: {_listed(faults)}")


def _listed(faults: Mapping[str, str]) -> str:
    lines = [f"{name}: {fault}" for fault, name in faults.items()]
    if len(lines) == 1:
        return lines[0]
    more = [f"and {len(lines) - _MOST_SHOWN} more"] if len(lines) > _MOST_SHOWN else []
    return "\n  ".join(["these runs would fail:", *lines[:_MOST_SHOWN], *more])


def main() -> None:
    """Answers the jobs on standard input with a line of JSON: fault -> the first that has it."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    process.tune()
    with tempfile.TemporaryDirectory() as products:
        faults = _faults(json.load(sys.stdin), pathlib.Path(products))
    print(json.dumps(faults), flush=True)


def _faults(jobs: Sequence[Job], products: pathlib.Path) -> dict[str, str]:
    """What is wrong, and the first job that it is wrong in."""
    faults: dict[str, str] = {}
    readable = set()  # runs
    for run, command, files, overrides in jobs:
        try:
            if command == "train":
                _save_product(products / run, *_read(command, files, overrides))
                readable.add(run)
            elif run in readable:
                _read(command, files, [*overrides, f"PROMPTS={products / run}"])
        except UserError as error:
            faults.setdefault(str(error), f"{command} of {run}")
    return faults


def _read(
    command: str, files: Sequence[str], overrides: Sequence[str]
) -> tuple[list[str], Mapping[str, int]]:
    """Reads what the command would; names of the tasks and token limits of its first dataset.

    Raises:
        UserError: it cannot be read.
    """
    from mpt_jax.configuration import config, gin_presets
    from mpt_jax.engine.data import pipeline

    config.parse(files, overrides, presets=gin_presets.presets(command, files))
    module, function, names = _DATASETS[command]
    datasets = [config.argument(module, function, name) for name in names]
    mixtures = [pipeline.load_mixture(each, tell=False) for each in datasets if each is not None]
    return [task.name for task in mixtures[0].tasks], datasets[0].task_feature_lengths


def _save_product(folder: pathlib.Path, tasks: Sequence[str], lengths: Mapping[str, int]) -> None:
    """What a run would leave, as far as an evaluation reads its data by it."""
    import numpy as np

    from mpt_jax.product import product_file
    from mpt_jax.product.description import ProductInfo

    facts = {"length": 1, "width": 1, "rank": 0, "vocabulary_size": 1, "backbone": "", "step": 0}
    described = {"feature_lengths": dict(lengths), "label_words": {}, "input_forms": {}}
    info = ProductInfo(method="", tasks=tuple(tasks), metrics={}, **facts, **described)
    product_file.save(str(folder), {"shared": np.zeros((1, 1), np.float32)}, info)


if __name__ == "__main__":
    main()
