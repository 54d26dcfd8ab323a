"""What a run has logged in `metrics.jsonl`, and which of its evaluations was the best."""

import math
import os
from collections.abc import Iterable, Mapping
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


def means(lines: Iterable[Mapping[str, Any]], last: float = math.inf) -> dict[int, float | None]:
    """Step -> mean key metric of each evaluation up to the step `last`, None if not finite."""
    evaluations = (line for line in lines if line["kind"] == "eval" and line["step"] <= last)
    return {line["step"]: line.get(f"{MEAN}/{KEY_METRIC}") for line in evaluations}


def best_step(found: Mapping[int, float | None]) -> int | None:
    """The step of the best evaluation, which a run's product is taken from; None without any.

    The best is the highest mean, the first of equals; what is not finite counts as the lowest.

    Args:
        found: step -> mean key metric.
    """
    return max(sorted(found), key=lambda step: _rank(found[step]), default=None)


def _rank(mean: float | None) -> float:
    return mean if isinstance(mean, int | float) and math.isfinite(mean) else -math.inf
