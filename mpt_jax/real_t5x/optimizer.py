"""Our optimizer (groups, per-task state, schedule) as a T5X OptimizerDef."""

from collections.abc import Mapping
from typing import Any

import flax.core
import jax
import jax.numpy as jnp
import optax
from flax import traverse_util
from t5x import optimizers

from mpt_jax.engine import step as step_lib
from mpt_jax.engine.partitioning import mirrored
from mpt_jax.engine.schedules import Schedule
from mpt_jax.real_t5x.model import step_mean


class Optimizer(optimizers.OptaxWrapper):
    """State and updates of only the trainable leaves; the others pass through untouched.

    T5X's OptaxWrapper drops the learning rate that T5X computes. Here the schedule scales each
    group's updates by the step, as in our engine; T5X logs the schedule's
    value as `learning_rate`.

    Args:
        model: the model protocol's `param_labels`, `param_axes` and `optimizer_def`.
        schedule: scales every group's learning rate.
    """

    def __init__(self, model: Any, schedule: Schedule):
        super().__init__(optax_optimizer=None)
        self._model = model
        self._schedule = schedule

    def init_state(self, params: Mapping) -> optimizers.OptimizerState:
        """Step 0 and the optax state over the trainable leaves."""
        optimizer, labels = self._fitted(params)
        trainable, _ = self._split(params, labels)
        return optimizers.OptimizerState(
            step=jnp.zeros((), jnp.int32), param_states=optimizer.init(trainable)
        )

    def apply_gradient(self, hyper_params, params, state, grads):
        """One update; with a gradient that is not finite, none, as in `engine.step`."""
        del hyper_params  # the schedule acts inside
        optimizer, labels = self._fitted(params)
        trainable, frozen = self._split(params, labels)
        grads, _ = self._split(grads, labels)
        updates, moments = optimizer.update(grads, state.param_states, trainable, state.step)
        moved = (state.step + 1, optax.apply_updates(trainable, updates), moments)
        finite = jnp.isfinite(optax.global_norm(grads))
        step, trainable, moments = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old),
            moved,
            (state.step, trainable, state.param_states),
        )
        params = flax.core.freeze(step_lib.merge(trainable, frozen))
        return params, optimizers.OptimizerState(step=step, param_states=moments)

    def derive_logical_axes(self, optimizer, param_logical_axes):
        """The optimizer with axis names for leaves: a moment has those of its parameter."""
        state = traverse_util.flatten_dict(optimizer.state_dict()["state"])
        names = traverse_util.flatten_dict(flax.core.unfreeze(param_logical_axes))
        ranks = {path: len(axes) for path, axes in names.items()}
        axes = {
            path: names.get(mirrored(path, jnp.shape(leaf), ranks)) for path, leaf in state.items()
        }
        return optimizer.restore_state(
            {
                "target": flax.core.unfreeze(param_logical_axes),
                "state": traverse_util.unflatten_dict(axes),
            }
        )

    def compute_metrics(self, gradients, old_train_state, new_train_state) -> dict[str, Any]:
        """The gradient's norm and each group's rate, as T5X asks a WeightMetricsComputer."""
        del new_train_state
        optimizer, labels = self._fitted(old_train_state.params)
        norm = optax.global_norm(self._split(gradients, labels)[0])
        rates = optimizer.learning_rates(old_train_state.step)
        named = {f"learning_rate/{group}": rate for group, rate in rates.items()}
        return {name: step_mean(value) for name, value in {"grad_norm": norm, **named}.items()}

    def _fitted(self, params: Mapping):
        params = flax.core.unfreeze(params)
        labels = self._model.param_labels(params)
        axes = self._model.param_axes(params)
        return self._model.optimizer_def.build(labels, axes, self._schedule), labels

    @staticmethod
    def _split(tree: Mapping, labels: Mapping) -> tuple[dict, dict]:
        return step_lib.split(flax.core.unfreeze(tree), labels)
