"""What a run folder says of its circumstances: backbone, numbers of rows, cost, date.

None of it is needed for a score, so what is missing or damaged is not known, and no more.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from mpt_jax import files, run_layout
from mpt_jax.engine.records import evaluated, recorded_costs, recorded_rows
from mpt_jax.errors import UserError

TRAIN = "train"
_MINI = "@assets.path()"  # in folders from before `mini` was a name
# A long value gets its own line.
_PATH = re.compile(r"^INITIAL_CHECKPOINT_PATH = (?:\\\n\s*)?(\S.*)$", re.MULTILINE)


def of(
    folder: epath.Path, record: Mapping[str, Any], split: str, tasks: Sequence[str]
) -> dict[str, Any]:
    """The fields of a `runs.Run` that this module is for.

    Args:
        folder: of the run.
        record: its run.json.
        split: that its scores are of.
        tasks: that have a score.
    """
    place = epath.Path(evaluated.folder(str(folder), split))
    scored = {task: _count(place, record, task, split) for task in tasks}
    trained = {task: recorded_rows.count(record, task, TRAIN) for task in tasks}
    return {
        "rows": {task: count for task, count in scored.items() if count},
        "train_rows": {task: count for task, count in trained.items() if count},
        "answers": _answers(place, tasks),
        "cost": recorded_costs.of(record),
        "backbone": _backbone(folder, record),
        "day": _day(folder, place),
    }


def _count(folder: epath.Path, record: Mapping[str, Any], task: str, split: str) -> int | None:
    """The lines of the file of a task's predictions; else what the run says of the split."""
    try:
        return evaluated.file_of(folder, task, "jsonl").read_bytes().count(b"\n")
    except OSError:
        return recorded_rows.count(record, task, split)


def _answers(place: epath.Path, tasks: Sequence[str]) -> dict[str, dict[str, float]]:
    """What `t5x eval` says of the answers to each task with label words, those that are numbers."""
    try:
        of = files.read_json(place / run_layout.EVALUATION).get(evaluated.OF)
    except (OSError, UserError):
        return {}
    told = of.get(evaluated.ANSWERS) if isinstance(of, dict) else None
    if not isinstance(told, dict):
        return {}
    return {
        task: {name: x for name, x in told[task].items() if type(x) in (int, float)}
        for task in tasks
        if isinstance(told.get(task), dict)
    }


def _backbone(folder: epath.Path, record: Mapping[str, Any]) -> str:
    """As "mini (bac813c51745fbbc)": the last part of its path, and its fingerprint."""
    recorded = record.get("backbone")
    fingerprint = recorded.get("fingerprint") if isinstance(recorded, dict) else None
    try:
        path = _PATH.search((folder / run_layout.CONFIG).read_text())
    except (OSError, UnicodeDecodeError):
        path = None
    name = path[1].strip("\"'/ ").rpartition("/")[2] if path else ""
    name = "mini" if path and path[1].strip() == _MINI else name
    known = isinstance(fingerprint, str) and re.fullmatch(r"[0-9a-f]{1,64}", fingerprint)
    return f"{name} ({fingerprint})" if known and name else (fingerprint if known else name)


def _day(folder: epath.Path, place: epath.Path) -> str:
    files = (place / run_layout.EVALUATION, folder / run_layout.HISTORY)
    written = next(file for file in files if file.exists()).stat().mtime
    return datetime.datetime.fromtimestamp(written, datetime.UTC).date().isoformat()
