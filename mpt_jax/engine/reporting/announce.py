"""What a training run says of itself at its start and at its end, on standard error."""

from collections.abc import Mapping
from typing import Any

from mpt_jax import hosts
from mpt_jax.engine.records import recorded_rows, run_record
from mpt_jax.engine.records.evaluations import Evaluations
from mpt_jax.engine.records.run_record import numbers
from mpt_jax.engine.settings import Training
from mpt_jax.errors import UserError
from mpt_jax.product import product_file

_NAMED = 8  # tasks


def start(
    settings: Training, trainable: Mapping, frozen: Mapping, facts: Mapping[str, Any], step: int
) -> None:
    """Says what is about to be trained, on what, and where to.

    Args:
        settings: of the run.
        trainable, frozen: nested dicts of the parameters; they are counted.
        facts: those of `run_record.write`.
        step: of the checkpoint that the run goes on from; 0: it starts from the beginning.
    """
    model, restore = settings.model, settings.checkpoint_cfg.restore
    named, others = ", ".join(model.tasks[:_NAMED]), len(model.tasks) - _NAMED
    named += f" and {others} more" if others > 0 else ""
    split = settings.train_dataset_cfg.split
    rows = sum(recorded_rows.count(facts, task, split) or 0 for task in model.tasks)
    resumed = f", from step {step}" if step else ""
    hosts.tell(
        f"training {model.method.name}: {numbers(trainable):,} numbers train, "
        f"{numbers(frozen):,} are frozen",
        f"  backbone  {restore and restore.path or 'none: random numbers'}",
        f"  tasks     {named}: {rows:,} training rows",
        f"  folder    {settings.model_dir}: {settings.total_steps:,} steps{resumed}",
    )


def end(model_dir: str, step: int, evaluations: Evaluations) -> None:
    """Says what came of a run that has ended.

    Args:
        model_dir: the run folder, which holds the product.
        step: its last.
        evaluations: of the run.
    """
    hosts.tell(f"finished {model_dir}: {_outcome(model_dir, step, evaluations)}")


def already_finished(model_dir: str, step: int) -> None:
    """Says that there is nothing to train.

    Args:
        model_dir: the run folder, with the metrics and the product.
        step: its last.
    """
    try:
        evaluations = run_record.evaluations(model_dir)
    except UserError:  # the product is there even if the log is damaged
        evaluations = None
    hosts.note(
        f"the run in {model_dir} is finished, so nothing is trained: "
        f"{_outcome(model_dir, step, evaluations)}. To train on, raise --gin.TRAIN_STEPS; to train "
        "again, choose another --gin.MODEL_DIR."
    )


def _outcome(model_dir: str, step: int, evaluations: Evaluations | None) -> str:
    reached = f"step {step:,}"
    score = evaluations and evaluations.score()
    if score is not None:
        steps = set(evaluations.steps().values())
        where = f"step {steps.pop():,}" if len(steps) == 1 else "each task's own best step"
        reached += f", best validation score {score:.2f} at {where}"
    try:
        return f"{reached}; product {product_file.resolve(model_dir)}"
    except UserError:  # a method of the user's own may save something else
        return reached
