"""The sub-command `t5x sweep`."""

import argparse
import contextlib
import pathlib
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from mpt_jax import lock
from mpt_jax.errors import UserError, did_you_mean
from mpt_jax.screen import Screen
from mpt_jax.sweep import cells, data_check, execution, groups, overview, plan_file
from mpt_jax.sweep.plan import Plan

EXIT_FAILED = 1
LOCK = "sweep.lock"
_ITEMS = {"metavar": "ITEM[,ITEM]"}
FLAGS = {
    "--folder": {"metavar": "DIR", "help": "of all runs (default: runs/NAME for NAME.toml)"},
    "--processes": {
        "metavar": "N",
        "type": int,
        "default": 1,
        "help": "runs at a time; on CPUs as many as there are, with one accelerator 1 (default: 1)",
    },
    "--together": {
        "metavar": "N",
        "type": int,
        "nargs": "?",
        "const": 24,
        "default": 1,
        "help": "train up to N cells that share a program in it (N: 24 where it is left out)",
    },
    "--redo": {
        "action": "store_true",
        "help": "carry out again what was made with other settings than the plan's",
    },
    "--methods": {**_ITEMS, "help": "only these of the plan's methods, by label"},
    "--tasks": {**_ITEMS, "help": "only these of its tasks"},
    "--shots": {**_ITEMS, "help": "only these of its shots"},
    "--seeds": {**_ITEMS, "help": "only these of its seeds"},
    "--runs": {
        **_ITEMS,
        "help": "only these of its runs, by name, while others may be at work in the folder; "
        "--emit prints it for cells that are trained together",
    },
    "--dry_run": {"action": "store_true", "help": "show what is done and what is left"},
    "--emit": {
        "action": "store_true",
        "help": "print the commands of what is left, for a job scheduler, and run nothing",
    },
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the plan and the flags."""
    parser.add_argument("plan", metavar="PLAN.toml", help="found as gin files are; docs/sweeps.md")
    for flag, settings in FLAGS.items():
        parser.add_argument(flag, **settings)


def run(arguments: argparse.Namespace) -> int:
    """Shows, prints or carries out the plan; returns the exit status.

    Raises:
        UserError: a mistake in the plan or among the flags, or runs that were made with other
            settings, before any run has started.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    from mpt_jax.sweep import recorded  # takes gin, which `t5x --help` does not need

    if arguments.processes < 1:
        raise UserError(f"--processes={arguments.processes} is not at least 1.")
    if arguments.together < 1:
        raise UserError(f"--together={arguments.together} is not at least 1.")
    if arguments.dry_run and arguments.emit:
        raise UserError("--dry_run and --emit exclude each other.")
    if arguments.redo and arguments.emit:
        raise UserError("--redo and --emit exclude each other: what is redone is deleted before.")
    plan = plan_file.load(arguments.plan)
    folder = pathlib.Path(arguments.folder or f"runs/{pathlib.Path(arguments.plan).stem}")
    if "://" in str(arguments.folder):
        raise UserError(f"--folder={arguments.folder}: a sweep's folder must be on a disk.")
    cells.check(plan, folder)
    whole = cells.all_runs(plan, folder)
    plan = _selected(plan, arguments)
    runs = cells.all_runs(plan, folder)
    if arguments.runs:
        runs = _named(runs, arguments.runs.split(","))
    changed = recorded.check(runs, arguments.redo)
    again = recorded.outdated(changed, whole)
    left = cells.left_of(runs, again)
    if left and not arguments.dry_run and not arguments.runs:  # of runs that it has been done for
        data_check.check(plan, folder)
    together = groups.of(left, arguments.together, arguments.processes)
    if arguments.emit:
        print(overview.commands(together, plan.name, folder), end="")
        return 0
    print(overview.state(plan, runs, left), flush=True)
    if again:
        why = "they, or what they start from, were made with other settings"
        print(
            f"\nDeleted first, because {why}: {len(again)}\n{recorded.listed(changed)}", flush=True
        )
    if arguments.together > 1:
        print(overview.shared(together), flush=True)
    if arguments.dry_run:
        return 0
    status = finish(
        left,
        arguments.processes,
        folder,
        arguments.together,
        again=again,
        holds_folder=not arguments.runs,
    )
    if not arguments.runs and not cells.left_of(runs):
        _show(plan, folder)
    return status


def _show(plan: Plan, folder: pathlib.Path) -> None:
    """Prints the scores and costs of a plan that is finished, and how to make its report."""
    from mpt_jax.sweep import table

    screen = Screen(sys.stdout)
    records, titles = table.collect(plan, folder), table.head(plan.tasks)
    for shots in plan.shots:
        score = f"{cells.split_of(plan)} score, mean ± deviation over seeds"
        screen.line(f"\n{table.title(shots)}: {score}")
        rows = [[*row[:-1], row[-1].strip("*")] for row in table.rows(plan, records, shots)]
        screen.table(titles, rows, numeric=titles[1:])
        if costs := table.costs(plan, records, shots):
            screen.line("\nCost of a training run, mean over runs")
            screen.table(table.COSTS, costs, numeric=table.COSTS[1:])
    screen.line(f"\nreport: t5x report {shlex.quote(str(folder))}")


def finish(
    left: list[cells.Run],
    processes: int,
    folder: pathlib.Path,
    together: int = 1,
    *,
    again: Mapping[str, pathlib.Path] = MappingProxyType({}),
    holds_folder: bool = True,
) -> int:
    """Carries out `left` and, at the end, says what failed; returns the exit status.

    Args:
        left: each behind the one that it needs.
        processes, together: as `execution.carry_out`.
        folder: of the sweep.
        again: by the names of runs, what is deleted before.
        holds_folder: whether to refuse others that are at work in the folder, on other runs.

    Raises:
        UserError: another sweep is at work in `folder`.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    refusal = (
        f"another sweep is carrying out runs in {folder}, or its workers still save what they had: "
        "wait for the end, or give this one another --folder."
    )
    with lock.held(folder / LOCK, refusal) if holds_folder else contextlib.nullcontext():
        for outdated in again.values():
            shutil.rmtree(outdated)
        outcome = execution.carry_out(left, processes, folder / "compiled", together)
    if outcome.faults:
        print(f"t5x: {outcome.faults}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def _named(runs: Sequence[cells.Run], names: Sequence[str]) -> list[cells.Run]:
    """Those of the names.

    Raises:
        UserError: there is no such run, or it needs one that is not among them and not finished.
    """
    known = {run.name: run for run in runs}
    for name in names:
        if name not in known:
            raise UserError(f"--runs: the plan has no run {name!r}.{did_you_mean(name, known)}")
        after = known[name].after
        if after is not None and after not in names and not known[after].is_finished():
            raise UserError(f"--runs: {name} needs {after}, which is not finished.")
    return [run for run in runs if run.name in names]


def _selected(plan: Plan, arguments: argparse.Namespace) -> Plan:
    given = {key: getattr(arguments, key) for key in ("methods", "tasks", "shots", "seeds")}
    return plan.select(**{key: value.split(",") for key, value in given.items() if value})
