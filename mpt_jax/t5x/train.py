"""T5X's `train.train`, which `t5x train` calls."""

from mpt_jax.engine import loop
from mpt_jax.engine.settings import Training
from mpt_jax.t5x.engines import by_engine

train = by_engine(Training, loop.train, "mpt_jax.real_t5x.train")

__all__ = ["train"]
