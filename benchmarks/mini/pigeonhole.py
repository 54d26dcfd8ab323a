"""The mean of a table of seeds × targets, and how sure it is: the pigeonhole bootstrap.

Two sources of chance cross: the seed (source run, draw of examples, order), which all targets of a
run share, and the target, which all seeds share. The pigeonhole bootstrap (Art B. Owen, The
pigeonhole bootstrap, Annals of Applied Statistics 1(2), 2007) resamples rows and columns with
replacement, each independently of the other, and keeps the entries where they cross. In expectation
its variance has the part of S seeds times 1 - 1 / S, as the bootstrap of a mean has, that of T
targets times 1 - 1 / T, and about three times that of the entries' own noise: it is too narrow
where few seeds or targets decide, and too wide where noise does.
"""

import functools

import numpy as np

DRAWS = 10_000
LEVEL = 0.95
_SEED = 0


def means(table: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """The means of the resampled tables.

    Args:
      table: [S, T] float, of seeds × targets.
      draws: N, how many.

    Returns:
      [N] float64; the same for the same shape of table, apart from the table's values.
    """
    S, T = table.shape
    rows, columns = counts(S, T, draws)
    return np.einsum("ns,st,nt->n", rows, table, columns, optimize=True) / (S * T)


@functools.cache
def counts(S: int, T: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each row and each column is drawn, [N, S] and [N, T] int; the same every time."""
    rng = np.random.default_rng(_SEED)
    rows = rng.multinomial(S, np.full(S, 1 / S), size=draws)
    return rows, rng.multinomial(T, np.full(T, 1 / T), size=draws)


def interval(table: np.ndarray) -> tuple[float, float]:
    """The interval that covers the mean over all seeds and targets there could be.

    Args:
      table: [S, T] float, of seeds × targets.

    Returns:
      The quantiles of `means` that leave LEVEL between them.
    """
    outside = (1 - LEVEL) / 2
    low, high = np.quantile(means(table), [outside, 1 - outside])
    return float(low), float(high)
