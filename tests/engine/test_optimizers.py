"""Optimizers against numpy written by hand, and K tasks at once against K separate runs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mpt_jax.engine import optimizers
from mpt_jax.engine.schedules import create_learning_rate_scheduler
from mpt_jax.errors import UserError

K, P, D = 3, 4, 5
LABELS = {"backbone": {"kernel": "frozen"}, "bank": {"shared": "shared", "task_u": "task"}}
AXES = {
    "backbone": {"kernel": ("embed", "mlp")},
    "bank": {"shared": ("prompt_length", "embed"), "task_u": ("tasks", "prompt_length")},
}
SCHEDULE = create_learning_rate_scheduler(warmup_steps=2, total_steps=8)
SCALES = [min(1, t / 2) * min(1, (8 - t) / 6) for t in range(8)]  # the same, by hand


def _random(seed, shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _numpy_adamw(param, grads, rate, weight_decay):
    """AdamW in float64, from the paper's algorithm; one gradient per step."""
    param, m, v = np.float64(param), 0.0, 0.0
    for t, grad in enumerate(np.float64(grads)):
        m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2
        adam = (m / (1 - 0.9 ** (t + 1))) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
        param = param - rate * SCALES[t] * (adam + weight_decay * param)
    return param


def _run(tx, params, grads_of_steps):
    """Parameters and state after the steps; `tx` is ours or optax's, which takes no step."""
    update = jax.jit(tx.update)
    state = tx.init(params)
    for t, grads in enumerate(grads_of_steps):
        step = (t,) if isinstance(tx, optimizers.Optimizer) else ()
        updates, state = update(grads, state, params, *step)
        params = optax.apply_updates(params, updates)
    return params, state


def test_two_speed_adamw_equals_numpy():
    definition = optimizers.adamw({"shared": 0.3, "task": 0.4}, weight_decay=0.01)
    tx = definition.build(LABELS, AXES, SCHEDULE)
    params = {"bank": {"shared": _random(0, (P, D)), "task_u": _random(1, (K, P))}}
    shared, task = _random(2, (5, P, D)), _random(3, (5, K, P))
    steps = [{"bank": {"shared": shared[t], "task_u": task[t]}} for t in range(5)]
    result, _ = _run(tx, params, steps)
    for name, grads, rate in (("shared", shared, 0.3), ("task_u", task, 0.4)):
        expected = _numpy_adamw(params["bank"][name], grads, rate, 0.01)
        np.testing.assert_allclose(result["bank"][name], expected, rtol=1e-5, atol=1e-5)


def test_learning_rates_are_each_groups_rate_times_the_schedule():
    tx = optimizers.adamw({"shared": 0.3, "task": 0.4}).build(LABELS, AXES, SCHEDULE)
    rates = tx.learning_rates(5)
    assert rates.keys() == {"shared", "task"}
    np.testing.assert_allclose(rates["shared"], 0.3 * SCALES[5], rtol=1e-6)
    np.testing.assert_allclose(rates["task"], 0.4 * SCALES[5], rtol=1e-6)


def test_one_rate_serves_all_groups_and_frozen_leaves_need_none():
    tx = optimizers.adamw(0.5).build(LABELS, AXES, SCHEDULE)
    assert tx.learning_rates(0).keys() == {"shared", "task"}


@pytest.mark.parametrize("last", [3, 7])
def test_a_task_that_was_away_comes_back_at_the_rate_of_the_step(last):
    """Without memory Adam's update is the sign of the gradient, times the rate."""
    rule = optimizers.adamw(0.4, weight_decay=0.0, b1=0.0, b2=0.0, eps=1e-20)
    tx = rule.build(LABELS, AXES, SCHEDULE)
    params = {"bank": {"shared": jnp.zeros((P, D)), "task_u": jnp.zeros((K, P))}}
    grads = {"bank": {"shared": jnp.ones((P, D)), "task_u": jnp.ones((K, P))}}
    away = jax.tree.map(lambda g: g.at[1:].set(0.0) if g.shape == (K, P) else g, grads)
    before, state = _run(tx, params, [away] * last)
    updates, _ = tx.update(grads, state, before, last)
    np.testing.assert_allclose(updates["bank"]["task_u"], -0.4 * SCALES[last], rtol=1e-5)
    np.testing.assert_allclose(tx.learning_rates(last)["task"], 0.4 * SCALES[last], rtol=1e-6)


@pytest.mark.parametrize("rule", [optimizers.adamw, optimizers.adafactor])
def test_a_rate_of_zero_leaves_a_group_as_it_is_to_the_bit(rule):
    """Tasks trained so fit a bank with that shared prompt (docs/prompts.md)."""
    decay = {"weight_decay": 0.1, "clip_norm": 1.0} if rule is optimizers.adamw else {}
    tx = rule({"shared": 0, "task": 0.4}, **decay).build(LABELS, AXES, SCHEDULE)
    params = {"bank": {"shared": _random(0, (P, D)), "task_u": _random(1, (K, P))}}
    grads = [{"bank": {"shared": _random(t, (P, D)), "task_u": _random(t, (K, P))}} for t in (2, 3)]
    result, _ = _run(tx, params, grads)
    assert np.asarray(result["bank"]["shared"]).tobytes() == params["bank"]["shared"].tobytes()
    assert np.all(result["bank"]["task_u"] != params["bank"]["task_u"])


TASK_GRADS = np.asarray([[3.0, 4.0, 0, 0], [0.3, 0.4, 0, 0], [0, 0, 30.0, 40.0]], np.float32)


@pytest.mark.parametrize("shared", [None, 2.0])
def test_clip_norm_is_over_all_that_trains_or_over_each_independent_task(shared):
    definition = optimizers.adamw(1.0, weight_decay=0.0, b1=0.0, b2=0.0, eps=1.0, clip_norm=1.0)
    grads = {"bank": {"task_u": TASK_GRADS}}
    if shared is not None:
        grads["bank"]["shared"] = np.full((P, D), shared, np.float32)
    labels = {"bank": {name: LABELS["bank"][name] for name in grads["bank"]}}
    tx = definition.build(labels, AXES, lambda count: jnp.ones(()))
    params = jax.tree.map(jnp.zeros_like, grads)
    updates, _ = tx.update(grads, tx.init(params), params, 0)
    if shared is None:
        clipped = {"task_u": [[0.6, 0.8, 0, 0], [0.3, 0.4, 0, 0], [0, 0, 0.6, 0.8]]}
    else:
        norm = np.sqrt(5**2 + 0.5**2 + 50**2 + P * D * shared**2)
        clipped = {name: leaf / norm for name, leaf in grads["bank"].items()}
    for name, leaf in clipped.items():
        expected = -np.asarray(leaf) / (np.abs(leaf) + 1.0)  # Adam without memory
        np.testing.assert_allclose(updates["bank"][name], expected, rtol=1e-5)


PRESENT = np.asarray(  # [steps, K]: which tasks a batch holds
    [[1, 1, 0], [0, 1, 1], [1, 0, 0], [1, 1, 1], [0, 0, 0], [0, 1, 1]], bool
)
RULES = {
    "adamw": optax.adamw(lambda count: 0.1 / (1 + count), weight_decay=0.1),
    "adafactor": optax.adafactor(lambda count: 0.1 / (1 + count), min_dim_size_to_factor=2),
}


def _task_runs():
    """Parameters and gradients of K tasks, each of them absent from some steps."""
    params = {"u": _random(4, (K, P, 2)), "v": _random(5, (K, 2, D))}
    mask = PRESENT[:, :, None, None].astype(np.float32)
    grads = {"u": _random(6, (6, K, P, 2)) * mask, "v": _random(7, (6, K, 2, D)) * mask}
    return params, [{name: g[t] for name, g in grads.items()} for t in range(6)]


@pytest.mark.parametrize("rule", RULES)
def test_tasks_in_one_program_equal_separate_runs(rule):
    params, steps = _task_runs()
    together = _run(optimizers.per_task(RULES[rule]), params, steps)
    for k in range(K):
        own_params = {name: p[k] for name, p in params.items()}
        own_steps = [
            {name: g[k] for name, g in grads.items()}
            for grads, present in zip(steps, PRESENT, strict=True)
            if present[k]
        ]
        alone = _run(RULES[rule], own_params, own_steps)
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[k], b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("rule", RULES)
def test_a_task_does_not_feel_the_others_in_a_single_bit(rule):
    params, steps = _task_runs()
    tx = optimizers.per_task(RULES[rule])
    together = _run(tx, params, steps)
    for k in range(K):
        only_k = (np.arange(K) == k).astype(np.float32)[:, None, None]
        alone = _run(tx, params, jax.tree.map(lambda g, only_k=only_k: g * only_k, steps))
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_array_equal(a[k], b[k])


def test_an_absent_task_keeps_parameters_and_state_bit_for_bit():
    tx = optimizers.per_task(RULES["adamw"])
    params = {"u": _random(4, (K, P))}
    grads = {"u": _random(6, (K, P))}
    before, state = _run(tx, params, [grads])
    updates, new_state = tx.update({"u": grads["u"] * [[1], [0], [1]]}, state, before)
    after = optax.apply_updates(before, updates)
    olds, news = jax.tree.leaves((before, state)), jax.tree.leaves((after, new_state))
    for old, new in zip(olds, news, strict=True):
        np.testing.assert_array_equal(old[1], new[1])
        assert not np.array_equal(old[0], new[0])


def test_adafactor_trains_shared_and_task_leaves():
    tx = optimizers.adafactor({"shared": 0.3, "task": 0.4}, min_dim_size_to_factor=2).build(
        LABELS, AXES, lambda count: jnp.ones(())
    )
    params = {"bank": {"shared": _random(0, (P, D)), "task_u": _random(1, (K, P))}}
    grads = jax.tree.map(jnp.ones_like, params)
    grads["bank"]["task_u"] = grads["bank"]["task_u"].at[1].set(0.0)
    result, _ = _run(tx, params, [grads])
    # A first update from a constant gradient is ones; the step is rate × the parameter's RMS.
    rms = np.sqrt(np.mean(params["bank"]["shared"] ** 2))
    np.testing.assert_allclose(
        result["bank"]["shared"], params["bank"]["shared"] - 0.3 * rms, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(result["bank"]["task_u"][1], params["bank"]["task_u"][1])
    rms = np.sqrt(np.mean(params["bank"]["task_u"][2] ** 2))
    np.testing.assert_allclose(
        result["bank"]["task_u"][2], params["bank"]["task_u"][2] - 0.4 * rms, rtol=1e-5, atol=1e-6
    )


def test_unknown_group_names_the_nearest():
    with pytest.raises(UserError, match="unknown group 'tasks'.*Did you mean 'task'"):
        optimizers.adamw({"shared": 0.3, "tasks": 0.4}).build(LABELS, AXES, SCHEDULE)


def test_group_without_a_rate_is_named():
    with pytest.raises(UserError, match="lacks the group 'task'"):
        optimizers.adamw({"shared": 0.3}).build(LABELS, AXES, SCHEDULE)
