"""Training metrics against numpy: per task, merged over parts of a batch."""

import jax
import jax.numpy as jnp
import numpy as np

from mpt_jax.metrics import PerTask, Sum

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=12).astype(np.float32)
WEIGHTS = RNG.integers(1, 4, size=12).astype(np.float32)
IDS = np.array([0, 2, 2, 0, 3, 0, 2, 2, 3, 0, 0, 2])  # never task 1


def _mean(task):
    rows = np.equal(IDS, task)
    return VALUES[rows].sum() / WEIGHTS[rows].sum()


MEANS = [_mean(0), np.nan, _mean(2), _mean(3)]


def _metric(rows=slice(None)):
    return PerTask.from_examples(VALUES[rows], WEIGHTS[rows], IDS[rows], 4)


def test_per_task_means():
    np.testing.assert_allclose(_metric().compute(), MEANS, rtol=1e-5)


def test_rows_without_weight_are_no_data():
    metric = PerTask.from_examples(jnp.zeros(2), jnp.zeros(2), jnp.array([0, 1]), 2)
    assert np.isnan(metric.compute()).all()


def test_merging_uneven_parts_is_the_whole():
    merged = _metric(slice(0, 5)).merge(_metric(slice(5, 6))).merge(_metric(slice(6, 12)))
    np.testing.assert_allclose(merged.compute(), MEANS, rtol=1e-5)


def test_metrics_stacked_by_a_scan_reduce_to_the_whole():
    """As `engine.step` merges its microbatches."""

    def part(carry, rows):
        values, weights, ids = rows
        return carry, (PerTask.from_examples(values, weights, ids, 4), Sum(values.sum()))

    rows = jax.tree.map(lambda x: x.reshape(3, 4), (VALUES, WEIGHTS, IDS))
    _, (per_task, total) = jax.lax.scan(part, None, rows)
    np.testing.assert_allclose(per_task.reduce().compute(), MEANS, rtol=1e-5)
    np.testing.assert_allclose(total.reduce().compute(), VALUES.sum(), rtol=1e-5)


def test_sums_merge_by_adding():
    assert Sum(jnp.asarray(1.5)).merge(Sum(jnp.asarray(2.0))).compute() == 3.5
