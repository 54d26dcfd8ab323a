"""The numbers of rows in `run.json`, by task and split; a report reads them without jax."""

from collections.abc import Mapping
from typing import Any


def key(task: str, split: str) -> str:
    """What the facts of a task's split stand under in a record's "data"."""
    return f"{task}, split {split}"


def count(record: Mapping[str, Any], task: str, split: str) -> int | None:
    """How many rows a run has found in a task's split; None where its record does not say.

    Args:
        record: the contents of run.json, which may be damaged.
        task: any.
        split: any.
    """
    found: Any = record
    for name in ("data", key(task, split), "rows"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None
