"""What a model computes before it answers, of many texts in one array: states and logits.

Rows differ in length. What lies after a row's end is zero and masked, whatever it was batched with.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Encoded(NamedTuple):
    """What `LoadedModel.encode` found for N texts, the longest of T tokens.

    Attributes:
        states: [N, P+T, D] float32: the encoder's last states, after its final norm. Positions 0 to
            P-1 are the prompt's, then come the text's tokens with their end token, then padding.
        mask: [N, P+T] bool: True at the prompt and the text, False at padding.
        prompt_length: P, 0 without a prompt: `states[:, P:]` is the text's.
    """

    states: np.ndarray
    mask: np.ndarray
    prompt_length: int


class TargetLogits(NamedTuple):
    """What `LoadedModel.logits` found for N texts with a target each, the longest of S tokens.

    Attributes:
        logits: [N, S, V] float32: `logits[i, t]` are those of the token `targets[i, t]`, given the
            text and the target's tokens before t. V is the embedding's rows, a few of which may be
            no token's.
        targets: [N, S] int32: ids of each target and its end token, then padding (0).
        mask: [N, S] bool: True at those, False at padding.
    """

    logits: np.ndarray
    targets: np.ndarray
    mask: np.ndarray


def encoded(rows: Sequence[np.ndarray], prompt_length: int, width: int) -> Encoded:
    """The states [P+T_i, D] of each text together; `width` is D."""
    states, mask = _together(rows, prompt_length, width)
    return Encoded(states, mask, prompt_length)


def target_logits(
    rows: Sequence[np.ndarray], targets: Sequence[Sequence[int]], vocabulary_size: int
) -> TargetLogits:
    """The logits [S_i, V] and the ids of each target together; `vocabulary_size` is V."""
    logits, mask = _together(rows, 0, vocabulary_size)
    ids = np.zeros(mask.shape, np.int32)
    for row, target in zip(ids, targets, strict=True):
        row[: len(target)] = target
    return TargetLogits(logits, ids, mask)


def _together(
    rows: Sequence[np.ndarray], shortest: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Arrays [L_i, width] as one of the longest's length, and where it holds them."""
    lengths = np.array([len(row) for row in rows], np.int32)
    longest = max(lengths, default=shortest)
    values = np.zeros((len(rows), longest, width), np.float32)
    for place, row in zip(values, rows, strict=True):
        place[: len(row)] = row
    return values, np.arange(longest) < lengths[:, None]
