"""`run.json` of a run folder: what was trained on what, for reports, people and a resumed run."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from mpt_jax import files, hosts, run_layout
from mpt_jax.engine import schedules
from mpt_jax.engine.records import history
from mpt_jax.engine.records.evaluations import Evaluations
from mpt_jax.engine.schedules import Schedule
from mpt_jax.errors import UserError
from mpt_jax.tasks.info import info


def read(model_dir: str) -> dict[str, Any]:
    """The record in a run folder, empty where there is none (UserError: it cannot be read)."""
    path = files.absolute(model_dir) / run_layout.RECORD
    return files.read_json(path) if path.exists() else {}


def settle_seed(random_seed: int | None, before: Mapping[str, Any] | None, model_dir: str) -> int:
    """The seed of a run: the one that is given; for None what `before` has, or one by chance.

    Args:
        random_seed: as given.
        before: the record of a run that goes on; None: of a first start. Every process must ask.
        model_dir: the run folder, for the message.

    Raises:
        UserError: it is neither a whole number nor None.
    """
    if isinstance(random_seed, int):
        return random_seed
    if random_seed is not None:
        raise UserError(f"RANDOM_SEED must be a whole number or None, got {random_seed!r}.")
    if before is None:
        drawn = np.array([secrets.randbelow(2**31)])
        return int(hosts.agree_on_longest(drawn)[0])
    recorded = before.get("seed")
    if not isinstance(recorded, int):
        path = epath.Path(model_dir) / run_layout.RECORD
        raise UserError(f"{path} does not say with which seed the run was started: give it.")
    return recorded


def closed(schedule: Schedule, before: Mapping[str, Any] | None, total_steps: int) -> Schedule:
    """The schedule that a run learns with: an open one ends with the run, as first started.

    So a run that is resumed with more steps goes on as it was; the user is told.

    Args:
        schedule, total_steps: of the settings.
        before: as in `settle_seed`.
    """
    if not schedules.is_open(schedule):
        return schedule
    before = before or {}
    first = before.get("schedule_steps") or before.get("total_steps")
    if first is not None and first != total_steps:
        hosts.note(
            f"the learning rate keeps the schedule that this run was started with, which ends at "
            f"step {first}; --gin.SCHEDULE_STEPS={total_steps} has it end with the run."
        )
    return schedules.over(schedule, first or total_steps)


def write(model_dir: str, model: Any, trainable: Mapping, facts: Mapping[str, Any]) -> None:
    """Write the record of a run that is about to train.

    Args:
        model_dir: the run folder.
        model: the model protocol; its method's name and its tasks are recorded.
        trainable: nested dict of the parameters that train, of all tasks; they are counted.
        facts: what else to record; a "label" of None is the method's name, and "key_metrics" are
            those that the run evaluates by, task -> name.

    Raises:
        UserError: the file cannot be written.
    """
    record = {
        **facts,
        "label": facts.get("label") or model.method.name,
        "method": model.method.name,
        "tasks": list(model.tasks),
        "key_metrics": key_metrics(model.tasks, facts.get("key_metrics", {})),
        "independent_tasks": model.method.independent_tasks,
        "tuned_parameters": numbers(trainable),
        "finished": False,
    }
    _write(model_dir, record)


def numbers(parameters: Mapping) -> int:
    """How many numbers a nested dict of arrays holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(parameters))


def amend(model_dir: str, **facts: Any) -> None:
    """Replace facts of the record.

    Raises:
        UserError: the file cannot be read or written.
    """
    _write(model_dir, {**read(model_dir), **facts})


def finish(model_dir: str, cost: Mapping[str, Any]) -> None:
    """Record that the run has come to its end: its last step is saved and evaluated.

    The number of its evaluations tells a `metrics.jsonl` that has lost its last lines.

    Raises:
        UserError: a file cannot be read or written.
    """
    evaluations = sum(line["kind"] == "eval" for line in history.read(model_dir))
    amend(model_dir, finished=True, evaluations=evaluations, cost=cost)


def evaluations(model_dir: str) -> Evaluations:
    """Those of a run that was started.

    Raises:
        UserError: a file cannot be read.
    """
    return Evaluations.of(read(model_dir), history.read(model_dir))


def key_metrics(tasks: Sequence[str], evaluated: Mapping[str, str]) -> dict[str, str]:
    """Key metric of each task: the one that the run evaluates by, else the one that is stated."""
    return {task: evaluated.get(task, info(task).metric) for task in tasks}


def _write(model_dir: str, record: Mapping[str, Any]) -> None:
    files.write_whole(
        epath.Path(model_dir) / run_layout.RECORD, files.to_sealed_json(record, indent=2) + "\n"
    )
