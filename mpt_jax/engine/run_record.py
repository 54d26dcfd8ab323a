"""`run.json` of a run folder: what was trained on what, for reports and for people."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from mpt_jax import files, hosts
from mpt_jax.errors import UserError
from mpt_jax.tasks.info import info

RECORD_FILE = "run.json"


def settle_seed(model_dir: str, random_seed: int | None, resumed: bool) -> int:
    """The seed of a run: the one that is given; for None what `run.json` has, or one by chance.

    Args:
        model_dir: the run folder.
        random_seed: as given.
        resumed: whether the run goes on from a checkpoint; every process must ask.

    Raises:
        UserError: it is neither a whole number nor None.
    """
    if isinstance(random_seed, int):
        return random_seed
    if random_seed is not None:
        raise UserError(f"RANDOM_SEED must be a whole number or None, got {random_seed!r}.")
    if resumed:
        return json.loads((epath.Path(model_dir) / RECORD_FILE).read_text())["seed"]
    drawn = np.array([secrets.randbelow(2**31)])
    return int(hosts.agree_on_longest(drawn)[0])


def write(model_dir: str, model: Any, trainable: Mapping, facts: Mapping[str, Any]) -> None:
    """Write the record of a run that is about to train.

    Args:
        model_dir: the run folder.
        model: the model protocol; its method's name and its tasks are recorded.
        trainable: nested dict of the parameters that train, of all tasks; they are counted.
        facts: what else to record; a "label" of None is the method's name.

    Raises:
        UserError: the file cannot be written.
    """
    record = {
        **facts,
        "label": facts.get("label") or model.method.name,
        "method": model.method.name,
        "tasks": list(model.tasks),
        "key_metrics": {task: info(task).metric for task in model.tasks},
        "tuned_parameters": sum(leaf.size for leaf in jax.tree.leaves(trainable)),
    }
    files.write_whole(epath.Path(model_dir) / RECORD_FILE, json.dumps(record, indent=2) + "\n")
