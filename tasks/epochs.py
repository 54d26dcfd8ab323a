"""How many steps some epochs are, counted on the data of the run."""

from collections.abc import Sequence

from mpt_jax.errors import UserError
from mpt_jax.tasks.mixtures import SIZE_LIMIT, bind_tasks
from mpt_jax.tasks.row_source import TRAIN


def steps(
    mixture_or_task_name: str | Sequence[str] | None,
    *,
    epochs: int,
    batch_size: int,
    equal_mixing: bool = False,
    module: str | Sequence[str] | None = None,
) -> int:
    """Steps in which a run sees `epochs` times the training rows of its tasks, rounded up.

    A task counts for at most 2^19 rows, as it does in the mixture.

    Args:
      mixture_or_task_name: as `mixtures.bind_tasks`; None only where no steps are counted, as in
        an evaluation.
      epochs: passes over the rows.
      batch_size: rows per step.
      equal_mixing: count the rows of the largest task alone, and `batch_size` for each task.
      module: imported first, to register the tasks.

    Raises:
      UserError: on unknown names, data that are not there, epochs or batch size below 1.
    """
    if epochs < 1 or batch_size < 1:
        raise UserError(
            f"Steps are counted for at least one epoch and one row a step; "
            f"got epochs = {epochs} and batch_size = {batch_size}."
        )
    tasks = bind_tasks(mixture_or_task_name, module=module).tasks
    counts = [task.num_input_examples(TRAIN) for task in tasks if TRAIN in task.splits]
    rows = (max if equal_mixing else sum)(min(count, SIZE_LIMIT) for count in counts)
    return -(-epochs * rows // batch_size)
