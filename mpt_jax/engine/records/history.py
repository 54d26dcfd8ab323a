"""What a run has logged in `metrics.jsonl`, and the rule for the best of its evaluations."""

import math
import os
from collections.abc import Mapping
from typing import Any

from etils import epath

from mpt_jax import files, run_layout

MEAN = "mean"
KEY_METRIC = "key_metric"

_FIELDS = {"step": int, "kind": str}


def read(model_dir: str | os.PathLike) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`; none where there is no such file.

    Raises:
        UserError: it cannot be read, or a line is not one that a run writes.
    """
    path = epath.Path(model_dir) / run_layout.HISTORY
    lines = files.read_json_lines(path) if path.exists() else []
    for number, line in enumerate(lines, 1):
        files.check_fields(line, _FIELDS, f"{path}, line {number},")
    return lines


def best_step(found: Mapping[int, float | None]) -> int | None:
    """The step of the best evaluation; None without any.

    The best is the highest value, the first of equals; what is not finite counts as the lowest.

    Args:
        found: step -> value of what judges an evaluation.
    """
    return max(sorted(found), key=lambda step: _rank(found[step]), default=None)


def _rank(value: float | None) -> float:
    return value if isinstance(value, int | float) and math.isfinite(value) else -math.inf
