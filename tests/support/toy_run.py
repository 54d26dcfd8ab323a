"""Runs a toy model for some steps as `engine.loop` does, without data, files or progress."""

import functools

import jax
import numpy as np

from mpt_jax.engine import step as step_lib
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.engine.schedules import create_learning_rate_scheduler


class Run:
    """The state of a run, moved batch by batch.

    Args:
        model: with an `optimizer_def`.
        params: all its parameters, e.g. from `model.start`.
        partitioner: default a mesh of one device.
        schedule: default constant.
        axes: logical axes other than the model's own.
        num_microbatches: as `trainer.Trainer`.
    """

    def __init__(
        self, model, params, *, partitioner=None, schedule=None, axes=None, num_microbatches=1
    ):
        self.partitioner = partitioner or PjitPartitioner(devices=jax.devices()[:1])
        labels = model.param_labels(params)
        axes = axes or model.param_axes(params)
        params = self.partitioner.place(params, model.param_axes(params))
        trainable, self.frozen = step_lib.split(params, labels)
        optimizer = model.optimizer_def.build(
            step_lib.split(labels, labels)[0],
            step_lib.split(axes, labels)[0],
            schedule or create_learning_rate_scheduler("constant"),
        )
        self._init = functools.partial(step_lib.init_state, optimizer)
        self._axes = step_lib.split(axes, labels)[0]
        self.restart(trainable)
        self._step = step_lib.make_train_step(
            model, optimizer, self.partitioner, num_microbatches=num_microbatches
        )

    def restart(self, trainable) -> None:
        """Back to step 0, with other trained parameters and the program compiled before."""
        self.state = self.partitioner.place_state(self._init(trainable), self._axes)

    def step(self, batch) -> dict[str, float]:
        """One optimizer step on a batch of `toy.batch`; the scalar metrics."""
        sharded = self.partitioner.shard_batch(batch)
        self.state, metrics = self._step(self.state, self.frozen, sharded, jax.random.key(0))
        return {name: float(x) for name, x in metrics.items() if isinstance(x, jax.Array)}

    @property
    def trainable(self) -> dict:
        """The trained parameters, on the host (copies: a step reuses the device's buffers)."""
        return jax.tree.map(np.array, self.state.trainable)
