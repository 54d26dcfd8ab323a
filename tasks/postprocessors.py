"""From decoded text to what the metrics compare, as SeqIO calls it: targets and predictions alike.

Each takes the text, `example` (the row, for targets) and `is_target`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np


def references(answer: str, example: Mapping[str, Any], is_target: bool, **_: Any) -> Any:
    """A target is the list of all right texts, the row's "references"; a prediction its text."""
    if not is_target:
        return answer
    return [text.decode("utf-8") for text in np.atleast_1d(example["references"])]


def grouped(answer: str, example: Mapping[str, Any], is_target: bool, **_: Any) -> Any:
    """A target is its text and the row's "group", a tuple of ids; a prediction its text."""
    return (answer, tuple(map(int, example["group"]))) if is_target else answer
