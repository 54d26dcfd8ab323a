"""What the paper reports (Wang et al. 2023, T5-Base, all training examples), next to runs."""

import dataclasses
from collections.abc import Sequence

GLUE, SUPER_GLUE = "GLUE", "SuperGLUE"

_SUPER_GLUE_TASKS = {"multirc", "boolq", "wic", "wsc", "cb"}

CAPTION = (
    "Letters in grey: as reported in the paper, of T5-Base, which these runs are comparable with "
    "only if they are on its tasks and model; (?): quoted from memory."
)


@dataclasses.dataclass(frozen=True)
class Point:
    """A method as reported.

    Attributes:
        letter: stands for it in pictures.
        method: its name.
        tuned: parameters per task.
        glue, super_glue: averages over tasks, percent.
        from_memory: the groups whose figure is quoted from memory.
    """

    letter: str
    method: str
    tuned: int
    glue: float
    super_glue: float
    from_memory: tuple[str, ...] = ()

    def score(self, group: str) -> float:
        """The average over `group`."""
        return self.glue if group == GLUE else self.super_glue


_BOTH = (GLUE, SUPER_GLUE)
TABLE = (
    Point("A", "full fine-tuning", 220_000_000, 84.9, 73.9, (SUPER_GLUE,)),
    Point("B", "Adapters", 1_900_000, 84.5, 75.4, (SUPER_GLUE,)),
    Point("C", "BitFit", 280_000, 83.3, 72.1, _BOTH),
    Point("D", "prompt tuning", 76_800, 72.2, 58.7, _BOTH),
    Point("E", "SPoT", 76_800, 82.3, 69.8, _BOTH),
    Point("F", "ATTEMPT", 232_000, 83.4, 70.5, _BOTH),
    Point("G", "MPT", 77_600, 85.6, 74.1),
    Point("H", "MPT, multi-target", 10_500, 86.1, 73.7, _BOTH),
)


def group_of(tasks: Sequence[str]) -> str:
    """The average to compare with runs on `tasks`: GLUE's, unless all are SuperGLUE's."""
    return SUPER_GLUE if set(tasks) <= _SUPER_GLUE_TASKS else GLUE
