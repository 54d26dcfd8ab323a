"""Correlation of numbers [N] with predictions of them [N], NaN where a prediction is not a number.

A NaN counts as the number that makes the correlation the lowest, all NaNs together. So they cannot
help: with them a correlation is at most that of any numbers in their place (for Pearson, any from
the lowest to the highest of all numbers there are), or at most 0 where those give less than 0.
"""

import math

import numpy as np
import scipy.stats


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation of finite `x` with `y`; 0 where one of them is constant.

    Along each NaN the correlation, while it is above 0, rises and then falls, so it is lowest at
    the ends of the scale; and of two NaNs the one with the higher target is then at the lower end.
    """
    lost = np.isnan(y)
    plain = _pearson(x[~lost], y[~lost])
    if not lost.any():
        return plain
    scale = np.concatenate([x, y[~lost]])
    filled = np.where(lost, scale.max(), y)
    lowest = _pearson(x, filled)
    places = np.flatnonzero(lost)
    for place in places[np.argsort(-x[places])]:
        filled[place] = scale.min()
        lowest = min(lowest, _pearson(x, filled))
    return garbled(lowest, plain)


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's correlation of finite `x` with `y`; 0 where one of them is constant.

    NaNs are ranked among the numbers, not tied with them, the higher its target the lower; the
    sum of products of ranks is minimized over all such orders, one NaN after the other.
    """
    lost = np.isnan(y)
    plain = _pearson(scipy.stats.rankdata(x[~lost]), scipy.stats.rankdata(y[~lost]))
    if not lost.any():
        return plain
    ranks = scipy.stats.rankdata(x) - (len(x) + 1) / 2
    # Equal numbers are a block, which has one rank, and begins after `ends[b]` numbers.
    _, block, size = np.unique(y[~lost], return_inverse=True, return_counts=True)
    weight = np.bincount(block, ranks[~lost], minlength=len(size))
    ends = np.concatenate([[0], np.cumsum(size)])

    def products(below: int) -> np.ndarray:
        """[blocks + 1]: the sum over the first b blocks with that many NaNs below them."""
        of_blocks = weight * (ends[:-1] + (size + 1) / 2 + below)
        return np.concatenate([[0.0], np.cumsum(of_blocks)])

    lowest = products(0)  # lowest[b]: over the first b blocks and the NaNs so far, all among them
    for below, rank in enumerate(np.sort(ranks[lost])[::-1]):
        placed = lowest + rank * (ends + below + 1)
        above = products(below + 1)
        lowest = above + np.minimum.accumulate(placed - above)
    spread = (len(y) ** 3 - len(y) - np.sum(size**3 - size)) / 12
    norm = math.sqrt(np.sum(ranks**2) * spread)
    return garbled(float(lowest[-1]) / norm if norm else 0.0, plain)


def garbled(lowest: float, plain: float) -> float:
    """The score of predictions with garbage: garbage by itself never makes it negative.

    Args:
        lowest: the score where garbage counts as the worst that there is.
        plain: the score of the predictions that are not numbers.
    """
    return max(lowest, min(0.0, plain))


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < 2 or np.all(x == x[0]) or np.all(y == y[0]):
        return 0.0
    x, y = (values / np.abs(values).max() for values in (x, y))  # squares do not overflow
    x, y = x - x.mean(), y - y.mean()
    norm = np.linalg.norm(x) * np.linalg.norm(y)
    return float(np.clip(x @ y / norm, -1, 1)) if norm else 0.0
