"""The names of what a run leaves in its folder, when it has results and when it is finished."""

import os
from collections.abc import Mapping
from typing import Any

from etils import epath

from mpt_jax import files
from mpt_jax.errors import UserError

CONFIG = "config.gin"  # what it was started with
RECORD = "run.json"  # what it is: method, tasks, seed, data, whether it is finished
HISTORY = "metrics.jsonl"  # what it logged, by step
CHECKPOINTS = "checkpoints"
EVENTS = "tensorboard"
LOCK = "run.lock"
VALIDATION = "eval"  # the folder of its own evaluations
TEACHERS = "teachers"  # the folder of the teachers' run, of a source run
# In the folder of a split: what an evaluation has found, and what it was started with.
EVALUATION = "metrics.json"
EVALUATION_CONFIG = "config_eval.gin"
# Where each engine keeps its checkpoints.
ENGINE_CHECKPOINTS = {"mpt_jax": f"{CHECKPOINTS}/*", "t5x": "checkpoint_*"}
_PRODUCTS = ("*.safetensors", "backbone/*.safetensors")


def holds_results(folder: str | os.PathLike) -> bool:
    """Whether a run has saved a checkpoint, or a product, in `folder`.

    If it has not, the next start there replaces its configuration.
    """
    kept = (*ENGINE_CHECKPOINTS.values(), *_PRODUCTS)
    return any(any(epath.Path(folder).glob(pattern)) for pattern in kept)


def is_finished(folder: str | os.PathLike) -> bool:
    """Whether the run's last step is saved and evaluated, and its product was written.

    A record that is missing or damaged is that of a run that must be completed.
    """
    try:
        return says_finished(files.read_json(epath.Path(folder) / RECORD))
    except UserError:
        return False


def says_finished(record: Mapping[str, Any]) -> bool:
    """`is_finished`, by the contents of `RECORD`."""
    return record.get("finished") is True
