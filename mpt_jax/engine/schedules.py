"""Learning-rate schedules as products of named factors, in T5X's vocabulary.

A schedule is written as text, `"constant * linear_warmup * linear_decay"`, so that a gin file can
change its shape without code. Here it scales the learning rate of every group (`optimizers.py`);
with the default `base_learning_rate` of 1 the groups' own rates are the peak.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from mpt_jax.errors import UserError, did_you_mean

Schedule = Callable[[jax.Array | int], jax.Array]


@dataclasses.dataclass(frozen=True)
class _Setting:
    base_learning_rate: float
    warmup_steps: int
    total_steps: int | None
    decay_factor: float
    steps_per_decay: int
    steps_per_cycle: int

    def __post_init__(self):
        for name in ("steps_per_decay", "steps_per_cycle"):
            if getattr(self, name) < 1:
                raise UserError(f"Schedule: {name} must be at least 1, got {getattr(self, name)}.")
        if self.warmup_steps < 0:
            raise UserError(f"Schedule: warmup_steps must be at least 0, got {self.warmup_steps}.")


def _linear_warmup(step: jax.Array, s: _Setting) -> jax.Array:
    return jnp.minimum(1.0, step / max(s.warmup_steps, 1)) if s.warmup_steps else jnp.ones(())


def _linear_decay(step: jax.Array, s: _Setting) -> jax.Array:
    return jnp.clip((s.total_steps - step) / (s.total_steps - s.warmup_steps), 0.0, 1.0)


def _rsqrt_decay(step: jax.Array, s: _Setting) -> jax.Array:
    return jax.lax.rsqrt(jnp.maximum(step, max(s.warmup_steps, 1)))


def _rsqrt_normalized_decay(step: jax.Array, s: _Setting) -> jax.Array:
    return jnp.sqrt(float(max(s.warmup_steps, 1))) * _rsqrt_decay(step, s)


def _cosine_decay(step: jax.Array, s: _Setting) -> jax.Array:
    cycle = jnp.maximum(0.0, (step - s.warmup_steps) / s.steps_per_cycle) % 1.0
    return 0.5 * (1.0 + jnp.cos(jnp.pi * cycle))


_FACTORS: dict[str, Callable[[jax.Array, _Setting], jax.Array]] = {
    "constant": lambda step, s: jnp.float32(s.base_learning_rate),
    "linear_warmup": _linear_warmup,
    "linear_decay": _linear_decay,
    "rsqrt_decay": _rsqrt_decay,
    "rsqrt_normalized_decay": _rsqrt_normalized_decay,
    "decay_every": lambda step, s: s.decay_factor ** (step // s.steps_per_decay),
    "cosine_decay": _cosine_decay,
}


def create_learning_rate_scheduler(
    factors: str = "constant * linear_warmup * linear_decay",
    base_learning_rate: float = 1.0,
    warmup_steps: int = 1000,
    total_steps: int | None = None,
    decay_factor: float = 0.5,
    steps_per_decay: int = 20000,
    steps_per_cycle: int = 100000,
    step_offset: int = 0,
    min_learning_rate: float = 0.0,
) -> Schedule:
    """A function from the step to the product of the named factors.

    Factors, with t = max(0, step - step_offset) and w = warmup_steps:

        constant                base_learning_rate
        linear_warmup           min(1, t / w)
        linear_decay            1 until w, then down to 0 at total_steps
        rsqrt_decay             1 / sqrt(max(t, w))
        rsqrt_normalized_decay  sqrt(w / max(t, w))
        decay_every             decay_factor ** floor(t / steps_per_decay)
        cosine_decay            (1 + cos(pi c)) / 2, c = the fraction of a cycle since w

    Names and meanings are T5X's but for `linear_decay`, which is a plain factor measured to
    `total_steps` (T5X's holds the warm-up and the constant as well, and a slope).

    Args:
        factors: factor names joined by `*`.
        base_learning_rate: the value of `constant`.
        warmup_steps: w above; 0 means no warm-up.
        total_steps: where `linear_decay` reaches 0; required by that factor only.
        decay_factor: what `decay_every` multiplies by.
        steps_per_decay: how often `decay_every` does so.
        steps_per_cycle: the length of a cosine cycle.
        step_offset: steps before this one count as 0.
        min_learning_rate: lower bound of the product.

    Returns:
        `schedule(step) -> float32`, traceable; a step of shape [K] gives [K].

    Raises:
        UserError: unknown factor, or a number out of range.
    """
    names = [name.strip() for name in factors.split("*")]
    for name in names:
        if name not in _FACTORS:
            raise UserError(
                f"Unknown learning-rate factor {name!r} in {factors!r};"
                f" known: {', '.join(_FACTORS)}.{did_you_mean(name, _FACTORS)}"
            )
    if "linear_decay" in names and (total_steps is None or total_steps <= warmup_steps):
        raise UserError(
            f"linear_decay needs total_steps > warmup_steps (= {warmup_steps}), got total_steps ="
            f" {total_steps}; set create_learning_rate_scheduler.total_steps and .warmup_steps."
        )
    setting = _Setting(
        base_learning_rate,
        warmup_steps,
        total_steps,
        decay_factor,
        steps_per_decay,
        steps_per_cycle,
    )

    def schedule(step: jax.Array | int) -> jax.Array:
        shifted = jnp.maximum(0, jnp.asarray(step) - step_offset).astype(jnp.float32)
        product = jnp.ones_like(shifted)
        for name in names:
            product = product * _FACTORS[name](shifted, setting)
        return jnp.maximum(product, min_learning_rate).astype(jnp.float32)

    return schedule
