"""`run.json` of a run folder: what was trained on what, for reports, people and a resumed run."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from mpt_jax import files, hosts, run_layout
from mpt_jax.engine import schedules
from mpt_jax.engine.schedules import Schedule
from mpt_jax.errors import UserError
from mpt_jax.tasks.info import info


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
        path = epath.Path(model_dir) / run_layout.RECORD
        recorded = files.read_json(path).get("seed")
        if not isinstance(recorded, int):
            raise UserError(f"{path} does not say with which seed the run was started: give it.")
        return recorded
    drawn = np.array([secrets.randbelow(2**31)])
    return int(hosts.agree_on_longest(drawn)[0])


def closed(schedule: Schedule, model_dir: str, total_steps: int, step: int) -> Schedule:
    """The schedule that a run learns with: an open one ends with the run, as first started.

    So a run that is resumed with more steps goes on as it was; the user is told.

    Args:
        schedule: of the settings.
        model_dir: the run folder.
        total_steps: of the settings.
        step: of the run's newest checkpoint; 0: it has none, this is its first start.

    Raises:
        UserError: the record cannot be read.
    """
    if not schedules.is_open(schedule):
        return schedule
    first = _schedule_steps(model_dir) if step else None
    if first is not None and first != total_steps:
        hosts.note(
            f"the learning rate keeps the schedule that this run was started with, which ends at "
            f"step {first}; --gin.SCHEDULE_STEPS={total_steps} has it end with the run."
        )
    return schedules.over(schedule, first or total_steps)


def _schedule_steps(model_dir: str) -> int | None:
    path = files.absolute(model_dir) / run_layout.RECORD
    if not path.exists():
        return None
    record = files.read_json(path)
    return record.get("schedule_steps") or record.get("total_steps")


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
        "tuned_parameters": numbers(trainable),
        "finished": False,
    }
    _write(model_dir, record)


def numbers(parameters: Mapping) -> int:
    """How many numbers a nested dict of arrays holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(parameters))


def amend(model_dir: str, **facts: Any) -> None:
    """Replace facts of the record; `finished=True` says that the run has come to its end.

    It has when its last step is saved and evaluated, and its product is there.

    Raises:
        UserError: the file cannot be read or written.
    """
    _write(model_dir, {**files.read_json(epath.Path(model_dir) / run_layout.RECORD), **facts})


def key_metrics(tasks: Sequence[str], evaluated: Mapping[str, str]) -> dict[str, str]:
    """Key metric of each task: the one that the run evaluates by, else the one that is stated."""
    return {task: evaluated.get(task, info(task).metric) for task in tasks}


def _write(model_dir: str, record: Mapping[str, Any]) -> None:
    files.write_whole(
        epath.Path(model_dir) / run_layout.RECORD, files.to_json(record, indent=2) + "\n"
    )
