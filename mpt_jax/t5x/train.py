"""T5X's `train.train`, which `t5x train` calls."""

from mpt_jax.engine.loop import train

__all__ = ["train"]
