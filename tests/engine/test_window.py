"""Averages between two log lines against numpy, and the stop at a non-finite loss."""

import jax.numpy as jnp
import numpy as np
import pytest

from mpt_jax.engine.reporting.window import MetricWindow
from mpt_jax.errors import UserError
from mpt_jax.metrics import PerTask, Sum

TASKS = ("nli", "qa", "sst")


def _metrics(loss=1.0, finite=True, **others):
    return {"loss": jnp.asarray(loss), "finite": jnp.asarray(finite), **others}


def test_scalars_are_averaged_over_the_steps():
    window = MetricWindow(TASKS)
    for step, loss in enumerate([1.0, 2.0, 6.0]):
        window.add(step, _metrics(loss, loss_hidden=Sum(jnp.asarray(10 * loss))), np.array([0]))
    assert window.summarize() == {"loss": 3.0, "loss_hidden": 30.0}


def test_task_metrics_are_means_over_all_examples_of_uneven_batches():
    rng = np.random.default_rng(0)
    window = MetricWindow(TASKS)
    ids = [np.array([0, 0, 0, 2]), np.array([0, 2, 2, 2]), np.array([2])]  # never "qa"
    values = [rng.normal(size=len(i)).astype(np.float32) for i in ids]
    weights = [rng.integers(1, 5, size=len(i)).astype(np.float32) for i in ids]
    for step in range(3):
        metric = PerTask.from_examples(values[step], weights[step], ids[step], len(TASKS))
        window.add(step, _metrics(task_loss=metric), ids[step])
    summary = window.summarize()
    assert summary.keys() == {"loss", "task_loss/nli", "task_loss/sst"}
    all_ids, all_values, all_weights = (np.concatenate(x) for x in (ids, values, weights))
    for task, index in (("nli", 0), ("sst", 2)):
        rows = all_ids == index
        expected = all_values[rows].sum() / all_weights[rows].sum()
        np.testing.assert_allclose(summary[f"task_loss/{task}"], expected, rtol=1e-5)


def test_a_summary_empties_the_window():
    window = MetricWindow(TASKS)
    assert window.summarize() == {}
    window.add(1, _metrics(5.0), np.array([0]))
    window.summarize()
    window.add(2, _metrics(7.0), np.array([0]))
    assert window.summarize() == {"loss": 7.0}


def test_a_non_finite_step_is_named_with_the_tasks_of_its_batch():
    window = MetricWindow(TASKS)
    window.add(11, _metrics(), np.array([0, 1]))
    window.add(12, _metrics(np.nan, finite=False), np.array([2, 0, 2]))
    window.add(13, _metrics(np.inf, finite=False), np.array([1]))
    with pytest.raises(UserError, match=r"step 12 \(loss nan\).*batch: nli, sst\. The last"):
        window.summarize()


def test_a_non_finite_gradient_of_a_finite_loss_stops_too():
    window = MetricWindow(TASKS)
    window.add(3, _metrics(2.5, finite=False), np.array([1]))
    with pytest.raises(UserError, match=r"gradient is not finite at step 3 \(loss 2.5\)"):
        window.summarize()
