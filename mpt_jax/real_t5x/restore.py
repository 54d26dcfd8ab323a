"""What evaluation and inference under T5X start from: a backbone and a trained product."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
from t5x import utils

from mpt_jax.engine.initialize import RestoreCheckpointConfig, initial_params, token_shapes
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.real_t5x.start import Restorer

# T5X's evaluation reads a step at the end of a checkpoint's name, which a backbone need not have.
_NAME = "checkpoint_0"


def restore_config(
    model: Any,
    partitioner: PjitPartitioner,
    restore: RestoreCheckpointConfig,
    lengths: Mapping[str, int],
    batch_size: int,
) -> utils.RestoreCheckpointConfig:
    """T5X's settings, by which it gets the parameters that our engine would start from."""

    def start(rng: jax.Array) -> Mapping:
        shapes = token_shapes(batch_size, lengths)
        return initial_params(model, partitioner, restore, shapes, rng)

    return utils.RestoreCheckpointConfig(
        path=_NAME,
        mode="specific",
        checkpoint_manager_cls=functools.partial(Restorer, start=start),
    )
