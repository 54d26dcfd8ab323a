"""Optimizers over the trainable leaves: AdamW or Adafactor, a learning rate per group.

The model labels each trainable leaf with its group ("shared", "task", ...); an `OptimizerDef`
says the rule and each group's learning rate. Leaves with a leading "tasks" axis are optimized
task by task (`per_task`), because a batch that lacks a task says nothing about it: neither weight
decay nor momentum may move it. Only the moments are each task's own. The schedule follows the
steps of the run, so a rate that is logged is applied to all tasks, and all end at the decayed one.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

from mpt_jax.engine.schedules import Schedule
from mpt_jax.errors import UserError, did_you_mean

FROZEN = "frozen"
"""The label of leaves that do not train; the others are names of learning-rate groups."""

TASKS_AXIS = "tasks"
"""The logical name of a leading axis that runs over the tasks."""


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """The optimizer over a trainable tree.

    Attributes:
        init: as optax: `init(trainable) -> opt_state`.
        update: `update(grads, opt_state, trainable, step, rates) -> (updates, opt_state)`, as
            optax, of a run that has taken `step` steps.
        learning_rates: `learning_rates(step, rates) -> {group: float32 scalar}`, those that
            `update` applies.
        rates: group -> peak rate. What is given as `rates` above takes their place, so that one
            program serves runs of any rates; left out, it is these.
    """

    init: Callable[[Any], optax.OptState]
    update: Callable[..., tuple[Any, optax.OptState]]
    learning_rates: Callable[..., dict[str, jax.Array]]
    rates: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class OptimizerDef:
    """A rule and its learning rates; `build` fits it to a model's groups.

    Attributes:
        rule: the optax transformation of a group at a learning rate of 1; its updates are
            proportional to the rate.
        learning_rates: one peak rate for all groups, or one for each.
        clip_norm: if given, gradients are scaled down to this norm over all that trains; where all
            leaves are of single tasks, over those of each task, as in a run of its own.
    """

    rule: optax.GradientTransformation
    learning_rates: float | Mapping[str, float]
    clip_norm: float | None = None

    def build(
        self, labels: Mapping[str, Any], axes: Mapping[str, Any], schedule: Schedule
    ) -> Optimizer:
        """The optimizer over the trainable leaves of a model.

        Args:
            labels: nested dict of labels, frozen leaves included or not.
            axes: nested dict of tuples of logical axis names, for the same leaves or more.
            schedule: scales every group's rate, `schedule(step)`.

        Raises:
            UserError: a learning rate for an unknown group, or a group without one.
        """
        flat = traverse_util.flatten_dict(labels)
        flat_axes = traverse_util.flatten_dict(axes)
        groups = {path: label for path, label in flat.items() if label != FROZEN}
        rates = self._rates(sorted(set(groups.values())))
        by_task = {path: flat_axes[path][:1] == (TASKS_AXIS,) for path in groups}
        rules, keys = {}, {}
        for path, group in groups.items():
            keys[path] = f"{group}_per_task" if by_task[path] else group
            rules[keys[path]] = per_task(self.rule) if by_task[path] else self.rule
        by_group = optax.multi_transform(rules, traverse_util.unflatten_dict(keys))
        tx = optax.chain(self._clip(are_independent=all(by_task.values())), by_group)
        trained = traverse_util.unflatten_dict(groups)

        def learning_rates(step: jax.Array | int, rates: Mapping = rates) -> dict[str, jax.Array]:
            factor = schedule(step)
            return {group: rate * factor for group, rate in rates.items()}

        def update(grads: Any, state: optax.OptState, params: Any, step, rates: Mapping = rates):
            updates, state = tx.update(grads, state, params)
            applied = learning_rates(step, rates)
            return jax.tree.map(lambda u, group: applied[group] * u, updates, trained), state

        return Optimizer(tx.init, update, learning_rates, rates)

    def _clip(self, are_independent: bool) -> optax.GradientTransformation:
        if self.clip_norm is None:
            return optax.identity()
        clip = optax.clip_by_global_norm(self.clip_norm)
        return per_task(clip) if are_independent else clip

    def _rates(self, groups: Sequence[str]) -> dict[str, float]:
        """The peak rate of each group."""
        if not isinstance(self.learning_rates, Mapping):
            return dict.fromkeys(groups, self.learning_rates)
        for group, rate in self.learning_rates.items():
            if group not in groups:
                raise UserError(
                    f"learning_rates names the unknown group {group!r}; this method's groups:"
                    f" {', '.join(groups)}.{did_you_mean(group, groups)}"
                )
            if not isinstance(rate, int | float):
                raise UserError(
                    f"the learning rate of the group {group!r} is {rate!r}, not a number."
                )
        if missing := [group for group in groups if group not in self.learning_rates]:
            raise UserError(
                f"learning_rates lacks the group {missing[0]!r}; give one number for all groups,"
                f" or a number for each of: {', '.join(groups)}."
            )
        return dict(self.learning_rates)


def adamw(
    learning_rates: float | Mapping[str, float],
    weight_decay: float = 1e-5,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    clip_norm: float | None = None,
) -> OptimizerDef:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Args:
        learning_rates: peak rate, one for all groups or one for each.
        weight_decay: the fraction of a parameter that a step of rate 1 removes.
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        clip_norm: see `OptimizerDef`.
    """
    adam = optax.adamw(1.0, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)
    return OptimizerDef(adam, learning_rates, clip_norm)


def adafactor(
    learning_rates: float | Mapping[str, float],
    decay_rate: float = 0.8,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: float | None = 1.0,
    min_dim_size_to_factor: int = 128,
) -> OptimizerDef:
    """Adafactor (Shazeer and Stern, 2018), as in optax.

    Args:
        learning_rates: peak rate, one for all groups or one for each.
        decay_rate: exponent of the second moment's decay.
        multiply_by_parameter_scale: whether a step is relative to the parameter's RMS.
        clipping_threshold: the largest RMS of an update before the learning rate.
        min_dim_size_to_factor: smaller matrices keep a full second moment.
    """
    rule = optax.adafactor(
        1.0,
        min_dim_size_to_factor=min_dim_size_to_factor,
        decay_rate=decay_rate,
        multiply_by_parameter_scale=multiply_by_parameter_scale,
        clipping_threshold=clipping_threshold,
    )
    return OptimizerDef(rule, learning_rates)


def per_task(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Runs `inner` for each task by itself, and only in the steps where the task took part.

    All leaves have a leading axis [K, ...]. Each slice has its own state, counts included, so K
    tasks get the updates of K separate runs over their gradients. A task whose gradient is exactly
    zero in all leaves was absent from the batch: neither its parameters nor its state change.
    """

    def init(params: Any) -> optax.OptState:
        return jax.vmap(inner.init)(params)

    def update(grads: Any, state: optax.OptState, params: Any) -> tuple[Any, optax.OptState]:
        present = _present(grads)
        updates, moved = jax.vmap(inner.update)(grads, state, params)
        updates = jax.tree.map(lambda u: _select(present, u, jnp.zeros_like(u)), updates)
        return updates, jax.tree.map(lambda new, old: _select(present, new, old), moved, state)

    return optax.GradientTransformation(init, update)


def _present(grads: Any) -> jax.Array:
    """[K] bool: the tasks with any nonzero gradient in any leaf [K, ...]."""
    nonzero = [
        jnp.any(leaf.reshape(leaf.shape[0], -1) != 0, axis=1) for leaf in jax.tree.leaves(grads)
    ]
    return jnp.any(jnp.stack(nonzero), axis=0)


def _select(present: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """Slices of `new` [K, ...] for the present tasks, of `old` for the others."""
    return jnp.where(present.reshape(-1, *[1] * (new.ndim - 1)), new, old)
