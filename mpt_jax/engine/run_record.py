"""`run.json` of a run folder: what was trained on what, for reports and for people."""

import json
from collections.abc import Mapping
from typing import Any

import jax
from etils import epath

from mpt_jax import files
from mpt_jax.tasks.info import info

RECORD_FILE = "run.json"


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
