"""`metrics.json`: what an evaluation of a run's product has found, and on which split."""

import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

from etils import epath

from mpt_jax import files, run_layout
from mpt_jax.engine.records.history import MEAN
from mpt_jax.errors import UserError
from mpt_jax.product import product_file

OF = "evaluated"  # next to the tasks and MEAN: what was evaluated, as `facts` says

KEYS, ANSWERS = _BY_TASK = ("key_metrics", "answers")  # in it, by task
INVALID, SAME, CONSTANT = "invalid_answers", "same_answer", "constant_answer"  # in its answers
COLLAPSED = 95.0  # percent of a task's answers that are one and the same
_LONGEST_HEADER = 2**24  # bytes


def folder(product: str, split: str) -> str:
    """Where an evaluation of a product lands: the folder `split` in that of its run.

    Args:
        product: the prompt or adapter file, or the run folder that holds it.
        split: what is evaluated.
    """
    place = product if epath.Path(product).is_dir() else os.path.dirname(product) or "."
    if os.path.basename(place) == product_file.BACKBONE_FOLDER:
        place = os.path.dirname(place) or "."
    return os.path.join(place, re.sub(r"[^\w.-]+", "_", split))


def file_of(place: str | os.PathLike, task: str, suffix: str) -> epath.Path:
    """The file of a task in the folder of an evaluation."""
    return epath.Path(place) / f"{task.replace('/', '_')}.{suffix}"


def facts(
    product: str, split: str, lengths: Mapping[str, int], rank_labels: bool = False
) -> dict[str, Any]:
    """What is evaluated: the split, the token limits, the way to answers, and the product."""
    with epath.Path(product_file.resolve(product)).open("rb") as file:
        header = file.read(min(int.from_bytes(file.read(8), "little"), _LONGEST_HEADER))
    return {
        "split": split,
        "feature_lengths": dict(lengths),
        "product": hashlib.sha256(header).hexdigest(),  # the checksums of its tensors stand there
        "rank_labels": rank_labels,
    }


def write(output_dir: str, results: Mapping[str, Any], of: Mapping[str, Any]) -> None:
    """Write {task: {metric: value}}, the mean of the key metrics, and `of` under `OF`.

    Tasks that another evaluation of the same product, split and limits has put there stay, and
    count in the mean: they may be evaluated one by one.

    Args:
        output_dir: of the evaluation.
        results: as `Evaluator.run` gives them.
        of: `facts`, with the name of each task's key metric under `KEYS` and its
            `Evaluator.answers` under `ANSWERS`.

    Raises:
        UserError: it cannot be written.
    """
    from mpt_jax.engine.evaluation.task_metrics import (  # takes seqio, not needed by a report
        with_mean,
    )

    path = os.path.join(output_dir, run_layout.EVALUATION)
    left = _left(path, of)
    before = left.pop(OF, {})
    by_task = {name: {**before.get(name, {}), **of[name]} for name in _BY_TASK}
    scores = with_mean({**left, **{task: results[task] for task in of[KEYS]}}, by_task[KEYS])
    text = files.to_sealed_json({**scores, OF: {**of, **by_task}}, indent=2)
    files.write_whole(path, f"{text}\n", setting="EVAL_OUTPUT_DIR")


def split_of(found: Mapping[str, Any]) -> str | None:
    """The split that the contents of `metrics.json` are of; None if they do not say."""
    of = found.get(OF)
    split = of.get("split") if isinstance(of, dict) else None
    return split if isinstance(split, str) else None


def _left(path: str, of: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of the file, where they are of the same; else none."""
    try:
        found = files.read_json(path)
        found.pop(MEAN, None)
        same = all(found[OF][name] == of[name] for name in of if name not in _BY_TASK)
        return found if same and set(found[OF][KEYS]) == set(found) - {OF} else {}
    except (UserError, KeyError, TypeError):
        return {}
