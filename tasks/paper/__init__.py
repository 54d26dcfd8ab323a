"""Registers the paper's tasks, with a run's wording, and the mixtures named after its tables.

Six sources and 23 targets, 25 tasks in all. Nothing is read before a split is asked for; the data
must have been prepared with TFDS (see `prepared_source`).
"""

from collections.abc import Sequence

import seqio

from mpt_jax.errors import UserError, did_you_mean
from mpt_jax.tasks import registration
from mpt_jax.tasks.paper import generation, glue, mrqa, others, super_glue
from mpt_jax.tasks.paper.task import PaperTask, add_task

TASKS: dict[str, PaperTask] = {
    **glue.TASKS,
    **super_glue.TASKS,
    **mrqa.TASKS,
    **others.TASKS,
    **generation.TASKS,
}
SOURCES = ("mnli", "qnli", "qqp", "sst2", "squad", "record")
_TARGETS = {
    "glue": tuple(glue.TASKS),
    "super_glue": ("multirc", "boolq", "wic", "wsc", "cb"),
    "mrqa": ("nq", "hotpotqa", "searchqa", "newsqa"),
    "others": tuple(others.TASKS),
    "generation": tuple(generation.TASKS),
}
SUITES: dict[str, tuple[str, ...]] = {
    "paper_sources": SOURCES,
    **_TARGETS,
    "paper_targets": tuple(name for suite in _TARGETS.values() for name in suite),
}
TEXT_FORMS = ("t5", "attempt")
VERBALISERS = ("words", "digits")


def register(
    *,
    vocabulary: seqio.Vocabulary,
    verbaliser: str = "words",
    text_form: str = "t5",
    prefix: bool = True,
    own_test_sets: bool = False,
    data_dir: str | None = None,
) -> str:
    """Registers all tasks and mixtures, instead of those of an earlier call.

    Args:
      vocabulary: of inputs and targets, the backbone's.
      verbaliser: "words" answers with T5's label words, "digits" with the label's id, as ATTEMPT.
      text_form: "t5" or "attempt": whose order and names of fields, and whose prefixes.
      prefix: whether inputs begin with the task's name.
      own_test_sets: whether SciTail is tested on its own test split, instead of half of its
        validation split.
      data_dir: where the datasets were prepared; None is TFDS's own folder.

    Returns:
      The name of this module, to be the run's MIXTURE_OR_TASK_MODULE.

    Raises:
      UserError: on an unknown value of one of these.
    """
    _check("verbaliser", verbaliser, VERBALISERS)
    _check("text_form", text_form, TEXT_FORMS)
    _check("prefix", prefix, (True, False))
    _check("own_test_sets", own_test_sets, (True, False))
    for name, task in TASKS.items():
        add_task(
            name,
            task,
            getattr(task, text_form) or task.t5,
            prefix=prefix,
            digits=verbaliser == "digits",
            own_test_sets=own_test_sets,
            vocabulary=vocabulary,
            data_dir=data_dir,
        )
    for name, members in SUITES.items():
        registration.add_mixture(name, members)
    return __name__


def feature_lengths(mixture_or_task_name: str | Sequence[str] | None) -> dict[str, int]:
    """TASK_FEATURE_LENGTHS that hold the longest "inputs" and "targets" among these tasks.

    None, all of them, stands for the tasks of PROMPTS, whose own lengths are then used.
    """
    tasks = _tasks(mixture_or_task_name)
    return {
        "inputs": max(task.input_length for task in tasks),
        "targets": max(task.target_length for task in tasks),
    }


def epochs(mixture_or_task_name: str | Sequence[str] | None) -> int:
    """Epochs of a run on one task; on several, the fewest among them."""
    return min(task.epochs for task in _tasks(mixture_or_task_name))


def _tasks(names: str | Sequence[str] | None) -> list[PaperTask]:
    found = []
    for name in [names] if isinstance(names, str) else TASKS if names is None else names:
        members = SUITES.get(name, (name,))
        if not set(members) <= TASKS.keys():
            known = [*TASKS, *SUITES]
            raise UserError(
                f"{name!r} is not one of the paper's tasks and mixtures: {', '.join(known)}."
                f"{did_you_mean(name, known)} For other tasks give TASK_FEATURE_LENGTHS and "
                "TRAIN_STEPS yourself."
            )
        found += [TASKS[member] for member in members]
    return found


def _check(argument: str, value: str | bool, known: Sequence[str | bool]) -> None:
    if value not in known:
        raise UserError(
            f"{argument} = {value!r} is not one of {', '.join(map(repr, known))}."
            f"{did_you_mean(str(value), map(str, known))}"
        )
