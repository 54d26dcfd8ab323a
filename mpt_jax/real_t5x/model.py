"""Our model as T5X drives one: its loss is that of a whole step of our engine."""

from collections.abc import Mapping
from typing import Any

import flax.core
import jax
import jax.numpy as jnp
from clu import metrics as clu_metrics

from mpt_jax.engine import step as step_lib
from mpt_jax.metrics import PerTask


class Model:
    """The members that T5X's trainer, evaluator and inference use, over the model protocol.

    T5X differentiates the loss by all parameters and hands them over as FrozenDicts. Here the
    gradient is that of `engine.step`: of only the trainable leaves, over microbatches whose
    losses are normalized by the whole batch. (T5X's own microbatches would add up their means.)

    Args:
        model: the model protocol, e.g. `models.EncoderDecoderModel`.
        optimizer_def: a T5X OptimizerDef; None for evaluation and inference.
        num_microbatches: parts that a batch is processed in.
    """

    def __init__(self, model: Any, optimizer_def: Any = None, num_microbatches: int = 1):
        self._model = model
        self._num_microbatches = num_microbatches
        self._loss = jax.custom_vjp(self._primal)
        self._loss.defvjp(self._loss_and_grads, self._backward)
        self.optimizer_def = optimizer_def
        self.FEATURE_CONVERTER_CLS = model.FEATURE_CONVERTER_CLS
        self.input_vocabulary = model.input_vocabulary
        self.output_vocabulary = model.output_vocabulary

    def get_initial_variables(
        self, rng: jax.Array, input_shapes: Mapping, input_types: Mapping | None = None
    ) -> dict:
        """As the model's; T5X needs a bound method."""
        return self._model.get_initial_variables(rng, input_shapes, input_types)

    def loss_fn(
        self, params: Mapping, batch: Mapping[str, jax.Array], dropout_rng: jax.Array
    ) -> tuple[jax.Array, dict]:
        """Loss of a whole batch, and clu metrics with one scalar each."""
        loss, metrics = self._loss(flax.core.unfreeze(params), dict(batch), dropout_rng)
        return loss, self._as_scalars(loss, metrics)

    def eval_fn(self, params: Mapping, batch: Mapping[str, jax.Array]) -> tuple[jax.Array, dict]:
        """The loss without dropout; as `loss_fn`."""
        loss, metrics = self._model.eval_fn(flax.core.unfreeze(params), batch)
        return loss, self._as_scalars(loss, metrics)

    def predict_batch(self, params: Mapping, batch: Mapping, rng: jax.Array | None = None):
        """As the model's."""
        return self._model.predict_batch(flax.core.unfreeze(params), batch, rng)

    def predict_batch_with_aux(self, params: Mapping, batch: Mapping, rng: jax.Array | None = None):
        """As the model's."""
        return self._model.predict_batch_with_aux(flax.core.unfreeze(params), batch, rng)

    def score_batch(self, params: Mapping, batch: Mapping) -> jax.Array:
        """As the model's."""
        return self._model.score_batch(flax.core.unfreeze(params), batch)

    # The loss with its gradient, as jax.custom_vjp wants them.

    def _loss_and_grads(self, params, batch, rng):
        trainable, frozen = step_lib.split(params, self._model.param_labels(params))
        loss, metrics, grads = step_lib.loss_and_grads(
            self._model, trainable, frozen, batch, rng, self._num_microbatches
        )
        no_grads = jax.tree.map(lambda _: None, frozen)
        return (loss, metrics), step_lib.merge(grads, no_grads)

    def _primal(self, params, batch, rng):
        return self._loss_and_grads(params, batch, rng)[0]

    def _backward(self, grads, cotangents):
        loss_cotangent, _ = cotangents
        return jax.tree.map(lambda grad: loss_cotangent * grad, grads), None, None

    def _as_scalars(self, loss: jax.Array, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Metrics that T5X can merge over steps and log: means over the steps, or per task."""
        scalars = {"loss": step_mean(loss)}
        for name, metric in metrics.items():
            if isinstance(metric, PerTask):
                for k, task in enumerate(self._model.tasks):
                    scalars[f"{name}/{task}"] = PerTask(metric.total[k], metric.count[k])
            else:
                scalars[name] = step_mean(metric.compute())
        return scalars


def step_mean(value: jax.Array) -> clu_metrics.Metric:
    """A scalar of a step as a metric that is averaged over the steps between two log lines."""
    return clu_metrics.Average.from_model_output(jnp.asarray(value, jnp.float32)[None])
