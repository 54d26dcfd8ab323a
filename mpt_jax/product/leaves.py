"""The leaves of a prompt bank, their axes and rows; what they mean is said in `prompts`.

Those named `task_...` have a row for each task; what other leaves hold, all tasks share. Apart, so
that a prompt file is read without jax.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mpt_jax.errors import UserError, did_you_mean

Bank = Mapping[str, Any]

# Logical axes of the leaves; the partitioner replicates all of them but `embed`'s rule decides D.
AXES = {
    "shared": ("prompt_length", "embed"),
    "task_u": ("tasks", "prompt_length", "rank"),
    "task_v": ("tasks", "rank", "embed"),
    "task_prompts": ("tasks", "prompt_length", "embed"),
}
# Each task's own additions to the modules of the backbone: `per_task/<module>/<leaf>` [K, ...].
TASK_TREE = "per_task"
_SHOWN = 20


def is_per_task(name: str) -> bool:
    """Whether a leaf [K, ...] has a row for each task on its first axis."""
    return name.startswith(("task_", f"{TASK_TREE}/"))


def rows_of(tasks: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Where in `tasks` [K] each of `names` stands.

    Raises:
        UserError: a name that is not there; says which are.
    """
    places = {task: row for row, task in enumerate(tasks)}
    for name in names:
        if name not in places:
            more = f" and {len(tasks) - _SHOWN:,} more" if len(tasks) > _SHOWN else ""
            raise UserError(
                f"task {name!r} is not in the prompt bank, which holds "
                f"{', '.join(tasks[:_SHOWN])}{more}.{did_you_mean(name, tasks)}"
            )
    return np.array([places[name] for name in names], np.int64)


def take(bank: Bank, rows: np.ndarray) -> dict[str, Any]:
    """The bank of only the tasks in `rows` [K']."""
    return {name: leaf[rows] if is_per_task(name) else leaf for name, leaf in bank.items()}
