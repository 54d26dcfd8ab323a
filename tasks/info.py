"""What a run wants to know of a task beyond SeqIO: its label words and its key metric."""

import dataclasses
from collections.abc import Iterable, Sequence

DEFAULT_METRIC = "accuracy"


@dataclasses.dataclass(frozen=True)
class TaskInfo:
    """Facts about one task.

    Attributes:
      label_words: the words that a target can be; empty for free text, spans and numbers.
      metric: the key metric, one that the task's metric functions return: what the mean over
        tasks averages and the product of a run is chosen by. The default stands for the first
        one where the task has no accuracy.
      inputs: how the task words its inputs, e.g. "premise: {premise} hypothesis: {hypothesis}";
        empty where that was not stated.
    """

    label_words: tuple[str, ...] = ()
    metric: str = DEFAULT_METRIC
    inputs: str = ""


_INFO: dict[str, TaskInfo] = {}


def register_info(name: str, task_info: TaskInfo) -> None:
    """States the facts of task `name`; stating them again replaces them."""
    _INFO[name] = task_info


def info(name: str) -> TaskInfo:
    """The facts of task `name`; if none were stated, no label words and metric "accuracy"."""
    return _INFO.get(name, TaskInfo())


def key_metric(name: str, found: Iterable[str]) -> str | None:
    """The key metric of task `name` among those that its functions return; None: it is not there.

    It is the one that is stated. A task may lack the default, which nobody stated: then the first.
    """
    found, stated = list(found), info(name).metric
    if stated in found:
        return stated
    return found[0] if found and stated == DEFAULT_METRIC else None


def input_forms(tasks: Sequence[str]) -> dict[str, str]:
    """Each task's form of its inputs, of those that state one."""
    return {name: info(name).inputs for name in tasks if info(name).inputs}


def label_words(tasks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Each task's label words."""
    return {name: info(name).label_words for name in tasks}
