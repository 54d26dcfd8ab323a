"""The interval against plain loops, the closed form of its variance, and its coverage."""

import numpy as np
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


def test_it_covers_the_true_mean_of_crossed_effects():
    covered = []
    for _ in range(200):
        seeds, targets = RNG.normal(size=(12, 1)), RNG.normal(size=(1, 12))
        low, high = pigeonhole.interval(3 + seeds + targets + RNG.normal(size=(12, 12)))
        covered.append(low <= 3 <= high)
    assert 0.86 <= np.mean(covered) <= 0.99


def test_a_constant_difference_has_no_spread():
    np.testing.assert_allclose(pigeonhole.interval(np.full((5, 8), 2.5)), (2.5, 2.5))
