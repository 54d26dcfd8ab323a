"""Each schedule factor against its closed form."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mpt_jax.engine.schedules import create_learning_rate_scheduler, over
from mpt_jax.errors import UserError

STEPS = [0, 1, 4, 5, 17, 60, 99, 100, 130]
W, TOTAL = 5, 100
CLOSED_FORMS = {
    "constant": lambda t: 0.3,
    "linear_warmup": lambda t: min(1, t / W),
    "linear_decay": lambda t: 1 if t <= W else max(0, (TOTAL - t) / (TOTAL - W)),
    "rsqrt_decay": lambda t: 1 / math.sqrt(max(t, W)),
    "rsqrt_normalized_decay": lambda t: math.sqrt(W / max(t, W)),
    "decay_every": lambda t: 0.5 ** (t // 40),
    "cosine_decay": lambda t: (1 + math.cos(math.pi * (max(0, t - W) / 50 % 1))) / 2,
}
SETTING = {
    "base_learning_rate": 0.3,
    "warmup_steps": W,
    "total_steps": TOTAL,
    "decay_factor": 0.5,
    "steps_per_decay": 40,
    "steps_per_cycle": 50,
}


@pytest.mark.parametrize("factor", CLOSED_FORMS)
def test_factor_equals_its_closed_form(factor):
    schedule = create_learning_rate_scheduler(factor, **SETTING)
    values = [schedule(step) for step in STEPS]
    np.testing.assert_allclose(values, [CLOSED_FORMS[factor](t) for t in STEPS], atol=1e-6)


def test_factors_multiply_under_jit_and_over_a_vector_of_counts():
    schedule = create_learning_rate_scheduler("constant * linear_warmup * linear_decay", **SETTING)
    values = jax.jit(schedule)(jnp.asarray(STEPS))
    names = ("constant", "linear_warmup", "linear_decay")
    expected = [math.prod(CLOSED_FORMS[name](t) for name in names) for t in STEPS]
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, expected, atol=1e-6)


def test_no_warmup_starts_at_the_peak():
    schedule = create_learning_rate_scheduler(warmup_steps=0, total_steps=10)
    np.testing.assert_allclose([schedule(0), schedule(5), schedule(10)], [1.0, 0.5, 0.0])


def test_offset_and_minimum():
    schedule = create_learning_rate_scheduler(
        "linear_warmup", warmup_steps=10, step_offset=20, min_learning_rate=0.05
    )
    np.testing.assert_allclose([schedule(3), schedule(20), schedule(25)], [0.05, 0.05, 0.5])


def test_unknown_factor_names_the_nearest():
    with pytest.raises(UserError, match="'linear_warmp'.*Did you mean 'linear_warmup'"):
        create_learning_rate_scheduler("constant * linear_warmp")


def test_linear_decay_needs_its_end():
    with pytest.raises(UserError, match="warm-up of 10 steps: lower WARMUP_STEPS, or raise TRAIN"):
        create_learning_rate_scheduler("linear_decay", warmup_steps=10, total_steps=10)
    with pytest.raises(UserError, match="warm-up of 10 steps: lower WARMUP_STEPS, or raise TRAIN"):
        over(create_learning_rate_scheduler("linear_decay", warmup_steps=10), 10)


def test_a_schedule_that_does_not_say_where_it_ends_ends_with_its_run():
    schedule = over(create_learning_rate_scheduler(warmup_steps=0), 10)
    np.testing.assert_allclose([schedule(0), schedule(5), schedule(10)], [1.0, 0.5, 0.0])
    for other in (schedule, create_learning_rate_scheduler("constant"), lambda step: step):
        assert over(other, 20) is other


@pytest.mark.parametrize("bad", [{"warmup_steps": -1}, {"steps_per_cycle": 0}])
def test_number_out_of_range(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        create_learning_rate_scheduler("constant", **bad)
