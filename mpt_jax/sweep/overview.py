"""A plan as text: what is done and what is left, and the commands of what is left."""

import pathlib
import shlex
from collections.abc import Sequence

from mpt_jax.sweep.cells import Run
from mpt_jax.sweep.plan import Plan


def state(plan: Plan, runs: Sequence[Run], left: Sequence[Run]) -> str:
    """A line for each source and method: its runs, those done, begun and not begun."""
    groups: dict[str, list[Run]] = {}
    labels = {f"targets/{method.folder}": method.label for method in plan.methods}
    for run in runs:
        folder = run.name.rpartition("/")[0]
        group = labels.get(folder) or f"source {run.name.rpartition('-')[0].split('/')[1]}"
        groups.setdefault(group, []).append(run)
    names = {run.name for run in left}
    rows = [("", "runs", "done", "begun", "to do")]
    for group, members in [*groups.items(), ("all", list(runs))]:
        of_left = [run for run in members if run.name in names]
        begun = sum(run.has_started() for run in of_left)
        counts = (len(members), len(members) - len(of_left), begun, len(of_left) - begun)
        rows.append((group, *map(str, counts)))
    width = max(len(row[0]) for row in rows)
    lines = [f"{name:<{width}}" + "".join(f"{n:>7}" for n in counts) for name, *counts in rows]
    parts = [
        f"{len(plan.methods)} method{'s' * (len(plan.methods) > 1)}",
        f"{len(plan.tasks)} task{'s' * (len(plan.tasks) > 1)}",
        f"shots {', '.join(plan.shots)}",
        f"seeds {', '.join(map(str, plan.seeds))}",
    ]
    return "\n".join([f"{plan.name}: {' × '.join(parts)}", "", *lines])


def shared(groups: Sequence[Sequence[Run]]) -> str:
    """A line: what is trained together."""
    sizes = [len(group) for group in groups if len(group) > 1]
    if not sizes:
        return "\nNo cells that are left share a program."
    return f"\nTogether: {sum(sizes)} cells in {len(sizes)} programs of up to {max(sizes)}."


def commands(groups: Sequence[Sequence[Run]], plan: str, folder: pathlib.Path) -> str:
    """A line of shell for each run, and for each group of cells that are trained together.

    At its end, as a comment, are its name and those that it must follow.
    """
    names = {run.name for group in groups for run in group}
    lines = []
    for group in groups:
        name = group[0].name + (f"+{len(group) - 1}" if len(group) > 1 else "")
        needs = sorted({run.after for run in group} & names)
        after = f" after {','.join(needs)}" if needs else ""
        lines.append(f"{_command(group, plan, folder)}  # {name}{after}\n")
    return "".join(lines)


def _command(group: Sequence[Run], plan: str, folder: pathlib.Path) -> str:
    if len(group) == 1:
        return " && ".join(shlex.join(["t5x", *step.arguments]) for step in group[0].steps)
    chosen = ",".join(run.name for run in group)
    flags = [f"--folder={folder}", f"--together={len(group)}", f"--runs={chosen}"]
    return shlex.join(["t5x", "sweep", plan, *flags])
