"""Batches cut to the smallest of a few lengths.

Padding costs as much as text, and every new shape costs a compilation, so there are few lengths.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Batch = dict[str, np.ndarray]
Buckets = Mapping[str, Sequence[int]]

PAD_ID = 0
MODEL_FEATURES = {
    "inputs": ("encoder_input_tokens",),
    "targets": ("decoder_target_tokens", "decoder_input_tokens", "decoder_loss_weights"),
}
# By which of its features a side is measured: decoder inputs are the targets, shifted.
_MEASURED = {side: features[0] for side, features in MODEL_FEATURES.items()}


def used_length(tokens: np.ndarray) -> int:
    """Columns of tokens [B, L] up to the last that is not padding in every row."""
    used = np.flatnonzero((tokens != PAD_ID).any(axis=0))
    return int(used[-1]) + 1 if used.size else 0


def bucket_length(length: int, buckets: Sequence[int], full: int) -> int:
    """The smallest bucket that holds `length`, or the full length where none does."""
    return min((bucket for bucket in buckets if length <= bucket <= full), default=full)


def cut_batch(
    batch: Batch,
    buckets: Buckets | None,
    agree: Callable[[np.ndarray], np.ndarray] = lambda lengths: lengths,
) -> Batch:
    """The batch with its padding columns cut to buckets; nothing but padding is lost.

    Args:
      batch: encoder_input_tokens [B, T] and the decoder_* features [B, S]; others stay.
      buckets: ascending lengths for "inputs" and/or "targets"; a side without any stays whole.
      agree: from this process's used lengths [sides] to those that all processes cut by.
    """
    widths = bucket_widths(batch, buckets, agree)
    if not widths:
        return batch
    cut = {name: np.ascontiguousarray(batch[name][:, :width]) for name, width in widths.items()}
    return {**batch, **cut}


def bucket_widths(
    batch: Batch,
    buckets: Buckets | None,
    agree: Callable[[np.ndarray], np.ndarray] = lambda lengths: lengths,
) -> dict[str, int]:
    """Feature -> the columns that `cut_batch` keeps, of the features that it cuts."""
    sides = [side for side in MODEL_FEATURES if buckets and side in buckets]
    if not sides:
        return {}
    used = agree(np.array([used_length(batch[_MEASURED[side]]) for side in sides]))
    return {
        feature: bucket_length(int(length), buckets[side], batch[_MEASURED[side]].shape[1])
        for side, length in zip(sides, used, strict=True)
        for feature in MODEL_FEATURES[side]
    }
