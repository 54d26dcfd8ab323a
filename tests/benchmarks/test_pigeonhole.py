"""The interval against plain loops, the closed form of its variance, and its coverage."""

import numpy as np
import pytest
from mini import pigeonhole

RNG = np.random.default_rng(7)


def test_the_means_are_those_of_resampled_tables():
    table = RNG.normal(size=(3, 4))
    rows, columns = pigeonhole.counts(3, 4, 50)
    assert (rows.sum(1) == 3).all() and (columns.sum(1) == 4).all()
    plain = []
    for i in range(50):
        seeds, targets = np.repeat(range(3), rows[i]), np.repeat(range(4), columns[i])
        plain.append(np.mean([[table[s, t] for t in targets] for s in seeds]))
    np.testing.assert_allclose(pigeonhole.means(table, 50), plain)


def test_the_variance_is_the_closed_form_of_both_resamplings():
    table = RNG.normal(size=(5, 8)) + RNG.normal(size=(5, 1)) + 2 * RNG.normal(size=(1, 8))
    S, T = table.shape
    d = table - table.mean()
    # E[w w'] of multinomial counts is 1 + [same] - 1 / n: sums over all pairs of entries.
    exact = (1 - 1 / S) * (d.sum(0) ** 2).sum() + (1 - 1 / T) * (d.sum(1) ** 2).sum()
    exact = (exact + (d**2).sum()) / (S * T) ** 2
    found = pigeonhole.means(table, 100_000)
    np.testing.assert_allclose(found.mean(), table.mean(), atol=0.01)
    np.testing.assert_allclose(found.var(), exact, rtol=0.03)


def test_of_one_column_it_is_the_bootstrap_of_rows():
    table = RNG.normal(size=(40, 1))
    drawn = RNG.choice(table[:, 0], size=(100_000, 40)).mean(axis=1)
    np.testing.assert_allclose(
        pigeonhole.interval(table), np.quantile(drawn, [0.025, 0.975]), atol=0.02
    )


@pytest.mark.parametrize(
    ("of_seeds", "of_targets", "least"), [(1, 1, 0.83), (1, 0, 0.82), (0, 1, 0.86), (0, 0, 0.96)]
)
def test_it_covers_the_true_mean_of_5_seeds_and_8_targets(of_seeds, of_targets, least):
    """With known effects, by a chance of 0.95 but for what the docstring says of few of them."""
    covered = []
    for _ in range(100):
        effects = of_seeds * RNG.normal(size=(5, 1)) + of_targets * RNG.normal(size=(1, 8))
        low, high = pigeonhole.interval(3 + effects + RNG.normal(size=(5, 8)))
        covered.append(low <= 3 <= high)
    assert np.mean(covered) >= least


def test_a_constant_difference_has_no_spread():
    np.testing.assert_allclose(pigeonhole.interval(np.full((5, 8), 2.5)), (2.5, 2.5))
