"""A plan as text: what is done and what is left, and the commands of what is left."""

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


def commands(left: Sequence[Run]) -> str:
    """A line of shell for each run; at its end, as a comment, its name and what it must follow."""
    names = {run.name for run in left}
    lines = []
    for run in left:
        line = " && ".join(shlex.join(["t5x", *step.arguments]) for step in run.steps)
        after = f" after {run.after}" if run.after in names else ""
        lines.append(f"{line}  # {run.name}{after}\n")
    return "".join(lines)
