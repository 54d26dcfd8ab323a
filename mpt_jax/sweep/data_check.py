"""Finds, before the first run, the tasks, splits and numbers of examples that there are not.

This takes SeqIO and the tasks' modules, and reads the data, so it is done in a process of its own:
the sweep itself stays small beside its workers.
"""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence

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

Job = tuple[str, str, list[str], list[str]]  # its name; command, gin files and overrides


def check(plan: Plan, folder: pathlib.Path) -> None:
    """Reads what a run of every kind would read.

    Raises:
        UserError: unknown tasks, splits that a task lacks, more shots than rows, data that cannot
            be read; the message names the runs.
    """
    jobs = [_job(run, step) for run, step in cells.kinds(plan, folder)]
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


def _job(run: cells.Run, step: cells.Step) -> Job:
    overrides = list(step.overrides)
    if step.command == "eval":  # whose tasks are those of a product, which is still to come
        overrides.append(f"mixtures.bind_tasks.mixture_or_task_name={run.task!r}")
    return f"{step.command} of {run.name}", step.command, list(step.files), overrides


def main() -> None:
    """Answers the jobs on standard input with a line of JSON: fault -> the first that has it."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    faults: dict[str, str] = {}
    for name, *command in json.load(sys.stdin):
        try:
            _read(*command)
        except UserError as error:
            faults.setdefault(str(error), name)
    print(json.dumps(faults), flush=True)


def _read(command: str, files: Sequence[str], overrides: Sequence[str]) -> None:
    """Reads what the command would.

    Raises:
        UserError: it cannot be read.
    """
    from mpt_jax.engine import config, data

    config.parse(files, overrides)
    module, function, names = _DATASETS[command]
    for name in names:
        dataset = config.argument(module, function, name)
        if dataset is not None:
            data.load_mixture(dataset, tell=False)


if __name__ == "__main__":
    main()
