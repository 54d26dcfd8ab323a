"""How parameters get into T5X's state: backbone and method's part, as our engine starts them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.core
import jax
from t5x import train_state as train_state_lib
from t5x import utils

Start = Callable[[jax.Array], Mapping]
"""PRNG key -> all parameters, global arrays laid out on the mesh."""


class Initializer(utils.TrainStateInitializer):
    """For T5X's training: a run that has no checkpoint yet starts from `start`.

    T5X would trace an initialisation, with a large backbone as a constant of the program, or map a
    T5X checkpoint onto the parameters; here the weights are read straight onto the mesh.
    """

    def __init__(self, *, start: Start, optimizer_def: Any, **arguments: Any):
        super().__init__(optimizer_def=optimizer_def, **arguments)
        self._start = start
        self._optimizer_def = optimizer_def

    def from_scratch(self, init_rng: jax.Array) -> train_state_lib.TrainState:
        """The state before the first step."""
        axes = self.global_train_state_shape.params_axes

        def create(params: Mapping) -> train_state_lib.TrainState:
            variables = flax.core.freeze({"params": params, "params_axes": axes})
            return train_state_lib.FlaxOptimTrainState.create(self._optimizer_def, variables)

        created = self._partitioner.partition(
            create,
            in_axis_resources=(self.train_state_axes.params,),
            out_axis_resources=self.train_state_axes,
            donate_argnums=(0,),
        )
        return created(flax.core.freeze(self._start(init_rng)))


class Restorer:
    """For T5X's evaluation and inference, instead of its checkpoint manager: reads once."""

    def __init__(self, *, start: Start, train_state: train_state_lib.TrainState, **unused: Any):
        self._start = start
        self._shapes = train_state

    def restore(
        self,
        path: str,
        fallback_state: Mapping | None = None,
        state_transformation_fns: Sequence[Callable] = (),
    ) -> train_state_lib.TrainState:
        """The state with the parameters of the run; `start` knows where they are, not `path`."""
        del path, fallback_state, state_transformation_fns
        params = flax.core.freeze(self._start(jax.random.key(0)))
        return self._shapes.replace_params(params).replace_step(jax.numpy.zeros((), int))
