"""From registered SeqIO tasks to what one run trains on: task ids, few-shot rows and mixing.

A registered task knows nothing of the runs it takes part in: no task id, all of its rows. A run
binds copies of its tasks, registered nowhere, so that one process can run many of them.
"""

import functools
from collections.abc import Callable, Sequence

import seqio

from mpt_jax import hosts, user_modules
from mpt_jax.errors import UserError, did_you_mean
from mpt_jax.tasks import names
from mpt_jax.tasks.batch_filling import (
    EqualMixture,
    FilledMixture,
    GroupedMixture,
    TaskSampledMixture,
)
from mpt_jax.tasks.bound_task import TASK_IDS, BoundTask
from mpt_jax.tasks.reading import check_vocabularies

__all__ = [
    "SIZE_LIMIT",
    "TASK_IDS",
    "bind_tasks",
    "chosen",
    "equal_batch_size",
    "having_split",
    "import_tasks",
    "task_names",
]

SIZE_LIMIT = 2**19  # T5's cap on the examples that a task counts for

Rate = float | Callable[[seqio.Task], float]


def import_tasks(module: str | Sequence[str] | None) -> None:
    """Imports what registers a run's tasks (MIXTURE_OR_TASK_MODULE): a module, a list, or nothing.

    Raises:
      UserError: one cannot be found.
    """
    for name in filter(None, _as_list(module or ())):
        user_modules.load(name, "MIXTURE_OR_TASK_MODULE")


def task_names(
    mixture_or_task_name: str | Sequence[str], module: str | Sequence[str] | None = None
) -> tuple[str, ...]:
    """Names of a run's tasks, in the order of their ids.

    A list keeps its order; the tasks of a mixture come by name, as SeqIO orders them. `module`
    is imported first, to register them.

    Raises:
      UserError: on an unknown name, with the nearest known ones, or an empty list.
    """
    import_tasks(module)
    return tuple(task.name for task in _tasks(mixture_or_task_name))


def chosen(
    held: Sequence[str],
    mixture_or_task_name: str | Sequence[str] | None = None,
    module: str | Sequence[str] | None = None,
) -> tuple[str, ...]:
    """Names of the tasks to evaluate a product on, in its order.

    Args:
      held: names of the product's tasks.
      mixture_or_task_name: those wanted; None: all. The user is told of any that are not held.
      module: imported first, to register them.

    Raises:
      UserError: on an unknown name; none of the wanted is held; one to evaluate is not registered.
    """
    import_tasks(module)
    names = held if mixture_or_task_name is None else task_names(mixture_or_task_name)
    found = tuple(name for name in held if name in names)
    lacking = ", ".join(name for name in names if name not in held)
    if not found:
        raise UserError(
            f"MIXTURE_OR_TASK_NAME names {lacking}, but PROMPTS was trained on {', '.join(held)}: "
            "name some of these, or leave MIXTURE_OR_TASK_NAME out to evaluate all."
        )
    if lacking:
        hosts.note(f"not evaluated, because PROMPTS was not trained on them: {lacking}.")
    for name in found:
        if name not in seqio.TaskRegistry.names():
            raise UserError(
                f"PROMPTS was trained on a task {name!r} that is not registered here: add the "
                "gin file that declares it, --gin_file=FILE, or name the module that registers "
                "it, --gin.MIXTURE_OR_TASK_MODULE=MODULE."
            )
    return found


def bind_tasks(
    mixture_or_task_name: str | Sequence[str],
    *,
    tasks: Sequence[str] | None = None,
    few_shot: int | None = None,
    few_shot_seed: int = 0,
    min_tasks_per_batch: int | None = None,
    equal_mixing: bool = False,
    groups: Sequence[tuple[float, Sequence[str]]] | None = None,
    batch_size: int | None = None,
    maximum: int = SIZE_LIMIT,
    seed: int | None = 0,
    module: str | Sequence[str] | None = None,
) -> seqio.Mixture:
    """An unregistered mixture of task copies that carry `task_ids`, an int32 feature of length 1.

    A registered mixture keeps its own rates; a task or a list is mixed in proportion to the
    number of training rows (k of them when few-shot), none counting for more than `maximum`.

    Args:
      mixture_or_task_name: a registered task or mixture, or a list of them.
      tasks: names whose positions are the ids; the default is `task_names` of the first argument.
      few_shot: total number of training rows per task; other splits stay whole.
      few_shot_seed: seed of that draw.
      min_tasks_per_batch: each batch draws K tasks, K uniform between this and all of them, and
        is filled from these by rate (`batch_filling`); None mixes example by example.
      equal_mixing: each batch has as many rows of each task, whatever their rates.
      groups: (share, names of tasks) of each group; a batch is of one group, drawn by its share,
        and filled by rate.
      batch_size: examples of a global batch; needed only by these three.
      maximum: the cap on a task's rows in the mixing rate.
      seed: seed of the task sampling; None: that of the dataset.
      module: imported first, to register the tasks.

    Raises:
      UserError: on unknown names, tasks with other features than inputs and targets of one
        vocabulary, a task without id, k outside of 1..n, more than one way to fill batches.
    """
    import_tasks(module)
    members = _tasks(mixture_or_task_name)
    order = tuple(tasks) if tasks is not None else tuple(task.name for task in members)
    _check_features(members)
    copies = [
        BoundTask(
            task,
            task_id=_position(task.name, order),
            num_tasks=len(order),
            few_shot=few_shot,
            few_shot_seed=few_shot_seed,
        )
        for task in members
    ]
    rate_of = _rates(mixture_or_task_name, maximum)
    rated = [(copy, rate_of(copy)) for copy in copies]
    name = "_".join(_as_list(mixture_or_task_name))
    ways = {
        "min_tasks_per_batch": min_tasks_per_batch is not None,
        "equal_mixing": equal_mixing,
        "groups": groups is not None,
    }
    if sum(ways.values()) > 1:
        given = " and ".join(way for way, is_given in ways.items() if is_given)
        raise UserError(
            f"mixtures.bind_tasks has {given}, but a batch is filled in one way: give one of them."
        )
    if equal_mixing:
        return EqualMixture(name, rated, batch_size=batch_size)
    if groups is not None:
        return GroupedMixture(name, rated, batch_size=batch_size, groups=groups)
    if min_tasks_per_batch is None:
        return seqio.Mixture(name, rated)
    return TaskSampledMixture(
        name, rated, batch_size=batch_size, min_tasks=min_tasks_per_batch, seed=seed
    )


def equal_batch_size(
    mixture_or_task_name: str | Sequence[str],
    rows_per_task: int,
    module: str | Sequence[str] | None = None,
) -> int:
    """Examples of a global batch that holds `rows_per_task` of each task (`equal_mixing`).

    Raises:
      UserError: as `task_names`; less than one row.
    """
    if not isinstance(rows_per_task, int) or rows_per_task < 1:
        raise UserError(
            f"each task needs a whole number of rows in a batch, at least 1; got {rows_per_task!r} "
            "(TEACHER_BATCH_SIZE, in a source run)."
        )
    return rows_per_task * len(task_names(mixture_or_task_name, module))


def having_split(mixture: seqio.Mixture, split: str) -> tuple[seqio.Mixture, tuple[str, ...]]:
    """The mixture of those tasks that have `split`, with their ids and rates; the others' names.

    Raises:
      UserError: none has it, or the data of a task cannot be read.
    """
    lacking = tuple(task.name for task in mixture.tasks if split not in task.splits)
    if not lacking:
        return mixture, ()
    rates = mixture.rate_per_task_name
    kept = [(task, rates[task.name]) for task in mixture.tasks if task.name not in lacking]
    if not kept:
        first = mixture.tasks[0]
        others = ", nor has any other task" if len(lacking) > 1 else ""
        raise UserError(
            f"Task {first.name!r} has no split {split!r}{others}; "
            f"it has {', '.join(map(str, first.splits))} (`t5x eval` takes --gin.EVAL_SPLIT=SPLIT)."
        )
    if isinstance(mixture, FilledMixture):
        return mixture.of(kept), lacking
    return seqio.Mixture(mixture.name, kept), lacking


def _as_list(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _tasks(names: str | Sequence[str]) -> list[seqio.Task]:
    providers = [_provider(name) for name in _as_list(names)]
    tasks = [task for provider in providers for task in seqio.get_subtasks(provider)]
    if not tasks:
        raise UserError("No task given: name a registered task or mixture, or a list of them.")
    return list({task.name: task for task in tasks}.values())


def _provider(name: str) -> seqio.Task | seqio.Mixture:
    known = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}
    if name not in known:
        raise names.unknown(name, known)
    return seqio.get_mixture_or_task(name)


def _position(name: str, order: Sequence[str]) -> int:
    if name not in order:
        raise UserError(
            f"Task {name!r} is not one of this run's tasks: {', '.join(order)}."
            f"{did_you_mean(name, order)}"
        )
    return order.index(name)


def _check_features(tasks: Sequence[seqio.Task]) -> None:
    first = tasks[0]
    for task in tasks:
        check_vocabularies(task)
        if set(task.output_features) != {"inputs", "targets"}:
            raise UserError(
                f"Task {task.name!r} must have the output features inputs and targets; "
                f"it has {', '.join(task.output_features)}."
            )
        for name, feature in task.output_features.items():
            other = first.output_features[name]
            if feature.vocabulary != other.vocabulary or feature.dtype != other.dtype:
                raise UserError(
                    f"Tasks {first.name!r} and {task.name!r} cannot be mixed: their feature "
                    f"{name!r} has another vocabulary or dtype. Register both with the same."
                )


def _rates(names: str | Sequence[str], maximum: int) -> Callable[[seqio.Task], Rate]:
    provider = _provider(names) if isinstance(names, str) else None
    if isinstance(provider, seqio.Mixture):
        return functools.partial(_rate_in, provider)
    by_rows = functools.partial(seqio.mixing_rate_num_examples, maximum=maximum)
    return lambda _: by_rows


def _rate_in(mixture: seqio.Mixture, copy: seqio.Task) -> Rate:
    """The mixture's rate of a task; one computed from the task sees the copy, k rows as k."""
    rate = mixture.rate_per_task_name.get(copy.name)
    if callable(rate):
        return rate
    original = next(task for task in mixture.tasks if task.name == copy.name)
    return mixture.get_rate(original)
