"""What a run learns from settings and record before it starts: seed, schedule, facts."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mpt_jax.engine import schedules
from mpt_jax.engine.records import data_record, run_record
from mpt_jax.engine.records.meter import Meter
from mpt_jax.engine.schedules import Schedule
from mpt_jax.engine.settings import Training


class RunStart(NamedTuple):
    """How a run starts or goes on.

    Attributes:
        seed: of initialisation, dropout and the order of the data.
        schedule: that it learns with; it has an end.
        facts: for `run_record.write`.
        before: the record of a run that goes on from a checkpoint; None: this is a first start.
        meter: of what it costs, from here on.
    """

    seed: int
    schedule: Schedule
    facts: Mapping[str, Any]
    before: Mapping[str, Any] | None
    meter: Meter


def settle(settings: Training, step: int) -> RunStart:
    """The start of a run; every process must ask.

    Args:
        settings: of the run.
        step: of its newest checkpoint; 0: it has none, this is its first start.

    Raises:
        UserError: a seed that is not a number; other data than at the first start.
    """
    model_dir, total_steps = settings.model_dir, settings.total_steps
    before = run_record.read(model_dir) if step else None
    meter = Meter(settings.batch_size, before)
    seed = run_record.settle_seed(settings.random_seed, before, model_dir)
    schedule = run_record.closed(settings.trainer.learning_rate_fn, before, total_steps)
    read = [settings.train_dataset_cfg, settings.infer_eval_dataset_cfg]
    facts = {
        **(settings.record or {}),
        "seed": seed,
        "total_steps": total_steps,
        "schedule_steps": schedules.end_of(schedule),
        "batch_size": settings.batch_size,
        "data": data_record.checked(read, before, model_dir),
        "cost": meter.earlier,
    }
    return RunStart(seed, schedule, facts, before, meter)
