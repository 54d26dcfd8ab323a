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


def _linear_warmup(step: jax.Array, s: "_Product") -> jax.Array:
    return jnp.minimum(1.0, step / max(s.warmup_steps, 1)) if s.warmup_steps else jnp.ones(())


def _linear_decay(step: jax.Array, s: "_Product") -> jax.Array:
    return jnp.clip((s.total_steps - step) / (s.total_steps - s.warmup_steps), 0.0, 1.0)


def _rsqrt_decay(step: jax.Array, s: "_Product") -> jax.Array:
    return jax.lax.rsqrt(jnp.maximum(step, max(s.warmup_steps, 1)))


def _rsqrt_normalized_decay(step: jax.Array, s: "_Product") -> jax.Array:
    return jnp.sqrt(float(max(s.warmup_steps, 1))) * _rsqrt_decay(step, s)


def _cosine_decay(step: jax.Array, s: "_Product") -> jax.Array:
    cycle = jnp.maximum(0.0, (step - s.warmup_steps) / s.steps_per_cycle) % 1.0
    return 0.5 * (1.0 + jnp.cos(jnp.pi * cycle))


_FACTORS: dict[str, Callable[[jax.Array, "_Product"], jax.Array]] = {
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

    Names and meanings are T5X's except for `linear_decay`, which is a plain factor measured to
    `total_steps` (T5X's holds the warm-up and the constant as well, and a slope).

    Args:
        factors: factor names joined by `*`.
        base_learning_rate: the value of `constant`.
        warmup_steps: w above; 0 means no warm-up.
        total_steps: where `linear_decay` reaches 0; None: where the run ends, which `over` fills
            in. Without effect on the other factors.
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
    return _Product(
        tuple(names),
        base_learning_rate,
        warmup_steps,
        total_steps,
        decay_factor,
        steps_per_decay,
        steps_per_cycle,
        step_offset,
        min_learning_rate,
    )


def is_open(schedule: Schedule) -> bool:
    """Whether the schedule ends where its run does."""
    return _decays(schedule) and end_of(schedule) is None


def end_of(schedule: Schedule) -> int | None:
    """The step at which the schedule's `linear_decay` reaches 0; None: it is open, or has none."""
    return schedule.total_steps if _decays(schedule) else None


def over(schedule: Schedule, total_steps: int) -> Schedule:
    """The schedule of a run of that many steps; one that is not open stays as it is.

    Raises:
        UserError: the run ends within the warm-up.
    """
    if not is_open(schedule):
        return schedule
    return dataclasses.replace(schedule, total_steps=total_steps)


def _decays(schedule: Schedule) -> bool:
    return isinstance(schedule, _Product) and "linear_decay" in schedule.names


@dataclasses.dataclass(frozen=True)
class _Product:
    """A schedule: the product of named factors."""

    names: tuple[str, ...]
    base_learning_rate: float
    warmup_steps: int
    total_steps: int | None
    decay_factor: float
    steps_per_decay: int
    steps_per_cycle: int
    step_offset: int
    min_learning_rate: float

    def __post_init__(self):
        for name, least in (("steps_per_decay", 1), ("steps_per_cycle", 1), ("warmup_steps", 0)):
            if (value := getattr(self, name)) < least:
                raise UserError(f"Schedule: {name} must be at least {least}, got {value}.")
        total, warmup = self.total_steps, self.warmup_steps
        if "linear_decay" in self.names and total is not None and total <= warmup:
            raise UserError(
                f"the learning rate would decay to 0 by step {total}, within its warm-up of"
                f" {warmup} steps: lower WARMUP_STEPS, or raise TRAIN_STEPS (SCHEDULE_STEPS, where"
                " it is set)."
            )

    def __call__(self, step: jax.Array | int) -> jax.Array:
        shifted = jnp.maximum(0, jnp.asarray(step) - self.step_offset).astype(jnp.float32)
        product = jnp.ones_like(shifted)
        for name in self.names:
            product = product * _FACTORS[name](shifted, self)
        return jnp.maximum(product, self.min_learning_rate).astype(jnp.float32)
