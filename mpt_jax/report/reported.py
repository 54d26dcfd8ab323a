"""Published scores of T5-Base with all training examples, next to runs.

As DePT (Shi and Lipani, ICLR 2024, table 1) and ULPT (Wu, Hao and Mou 2025, tables 1 and 5) print
them; most go back to MPT's own paper (Wang et al. 2023), as do MPT's scores by task.
"""

import dataclasses
from collections.abc import Mapping, Sequence

# The tasks of each average, with MPT's score.
MPT_BY_TASK = {
    "GLUE": {
        **{"mnli": 85.9, "qqp": 90.3, "qnli": 93.1, "sst2": 93.8},
        **{"stsb": 90.4, "mrpc": 89.1, "rte": 79.4, "cola": 62.4},
    },
    "SuperGLUE": {"multirc": 74.8, "boolq": 79.6, "wic": 69.0, "wsc": 67.3, "cb": 79.8},
    "MRQA": {"nq": 72.0, "hotpotqa": 75.8, "searchqa": 77.2, "newsqa": 63.7},
    "others": {"winogrande": 56.5, "yelp": 96.4, "scitail": 95.5, "paws": 93.5},
}
GROUPS = tuple(MPT_BY_TASK)
SOURCE = (
    "T5-Base, all training examples, as printed by DePT (Shi and Lipani, ICLR 2024) and ULPT (Wu, "
    "Hao and Mou 2025); prompt tuning is ULPT's own rerun. SciTail is scored there on half of its "
    "validation set, WSC on 52 rows and CB on 28."
)
CAPTION = (
    "Letters in grey: as published for T5-Base, which these runs are comparable with only if they "
    "are on its tasks and model."
)


@dataclasses.dataclass(frozen=True)
class Point:
    """A method as reported.

    Attributes:
        letter: stands for it in pictures.
        method: its name.
        tuned: parameters per task.
        means: averages over the tasks of each group, percent; a group without one is not there.
    """

    letter: str
    method: str
    tuned: int
    means: Mapping[str, float]


def _point(letter: str, method: str, tuned: int, *means: float) -> Point:
    return Point(letter, method, tuned, dict(zip(GROUPS, means, strict=False)))


TABLE = (
    _point("A", "full fine-tuning", 220_000_000, 84.9, 73.9, 74.7, 87.1),
    _point("B", "Adapters", 1_900_000, 84.5, 75.7, 74.7, 86.2),
    _point("C", "BitFit", 280_000, 83.3, 72.5, 72.0, 84.7),
    _point("D", "LoRA", 3_800_000, 85.3, 76.5, 66.0, 86.0),
    _point("E", "prompt tuning", 76_800, 84.9, 73.3, 70.8, 73.8),
    _point("F", "SPoT", 76_800, 82.3, 62.9, 69.1, 82.0),
    _point("G", "ATTEMPT", 232_000, 83.4, 70.5, 71.4, 84.9),
    _point("H", "MPT", 77_600, 85.6, 74.1, 72.2, 85.5),
    _point("I", "MPT, multi-target", 10_500, 85.8, 76.1),
    _point("J", "DePT", 76_800, 85.9, 76.5, 73.0, 86.3),
    _point("K", "DPT, rank 10", 9_000, 84.6, 71.7, 71.7, 83.4),
    _point("L", "ULPT, rank 64", 7_900, 86.0, 76.8, 71.1, 84.7),
)


def group_of(tasks: Sequence[str]) -> str:
    """The average to compare runs on `tasks` with: the one over all of them, else GLUE's."""
    found = (group for group, scores in MPT_BY_TASK.items() if set(tasks) <= scores.keys())
    return next(found, GROUPS[0])
