"""What a training run says of itself at its start and at its end, on standard error."""

import sys
from collections.abc import Mapping, Sequence

import jax

from mpt_jax import hosts, prompt_file
from mpt_jax.engine import history
from mpt_jax.errors import UserError

_NAMED = 8  # tasks


def start(
    *,
    method: str,
    tasks: Sequence[str],
    rows: int,
    tuned: Mapping,
    frozen: Mapping,
    backbone: str | None,
    model_dir: str,
    step: int,
    total_steps: int,
) -> None:
    """Says what is about to be trained, on what, and where to.

    Args:
        method: its name.
        tasks: names of the run's tasks.
        rows: training rows of all of them.
        tuned, frozen: nested dicts of the parameters; they are counted.
        backbone: the path of its checkpoint; None: it starts from random numbers.
        model_dir: the run folder.
        step: of the checkpoint that the run goes on from; 0: it starts anew.
        total_steps: where it ends.
    """
    named = ", ".join(tasks[:_NAMED])
    more = f" and {len(tasks) - _NAMED} more" if len(tasks) > _NAMED else ""
    resumed = f", from step {step}" if step else ""
    _tell(
        f"training {method}: {_count(tuned):,} numbers train, {_count(frozen):,} are frozen",
        f"  backbone  {backbone or 'none: random numbers'}",
        f"  tasks     {named}{more}: {rows:,} training rows",
        f"  folder    {model_dir}: {total_steps:,} steps{resumed}",
    )


def end(model_dir: str, step: int, means: Mapping[int, float | None]) -> None:
    """Says what came of a run that has ended.

    Args:
        model_dir: the run folder, which holds the product.
        step: its last.
        means: step -> mean key metric of each evaluation.
    """
    _tell(f"finished {model_dir}: {_outcome(model_dir, step, means)}")


def already_finished(model_dir: str, step: int) -> None:
    """Says that there is nothing to train.

    Args:
        model_dir: the run folder, with the metrics and the product.
        step: its last.
    """
    try:
        means = history.means(history.read(model_dir))
    except UserError:  # a damaged log does not unmake the product
        means = {}
    hosts.note(
        f"the run in {model_dir} is finished, so that nothing is trained: "
        f"{_outcome(model_dir, step, means)}. To train on, raise --gin.TRAIN_STEPS; to train "
        "anew, choose another --gin.MODEL_DIR."
    )


def _outcome(model_dir: str, step: int, means: Mapping[int, float | None]) -> str:
    best = history.best_step(means)
    reached = f"step {step:,}"
    if best is not None and means[best] is not None:
        reached += f", best validation score {means[best]:.2f} at step {best:,}"
    try:
        return f"{reached}; product {prompt_file.resolve(model_dir)}"
    except UserError:  # a method of the user's own may save something else
        return reached


def _count(parameters: Mapping) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(parameters))


def _tell(*lines: str) -> None:
    if hosts.is_first():
        print(*lines, sep="\n", file=sys.stderr, flush=True)
