"""Which stored rows are a task's train, validation and test rows, fixed for all time.

The benchmarks keep the labels of their test splits. As in Mahabadi et al. (2021), whom the paper
follows, small tasks halve their validation split and large ones hold 1,000 training rows out; here
the cut is by position, in the order in which TFDS stores the rows.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

HELD_OUT = 1000  # training rows that validate a large task


class Part(NamedTuple):
    """Consecutive rows of a stored split.

    Attributes:
      split: the split's name in TFDS.
      bounds: from the split's size to the first row and the one after the last.
    """

    split: str
    bounds: Callable[[int], tuple[int, int]] = lambda size: (0, size)


Recipe = Mapping[str, Part]  # "train", "validation" and "test" -> their rows

OWN: Recipe = {name: Part(name) for name in ("train", "validation", "test")}
HALVES: Recipe = {
    "train": Part("train"),
    "validation": Part("validation", lambda size: (0, size // 2)),
    "test": Part("validation", lambda size: (size // 2, size)),
}
MNLI: Recipe = {
    "train": Part("train"),
    "validation": Part("validation_mismatched"),
    "test": Part("validation_matched"),
}


def held_out(train: str = "train", test: str = "validation") -> Recipe:
    """The first 1,000 rows of `train` validate, `test` tests."""
    return {
        "train": Part(train, lambda size: (min(HELD_OUT, size), size)),
        "validation": Part(train, lambda size: (0, min(HELD_OUT, size))),
        "test": Part(test),
    }
