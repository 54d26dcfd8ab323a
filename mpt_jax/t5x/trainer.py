"""T5X's `trainer` names."""

from mpt_jax.engine.loop import Trainer

__all__ = ["Trainer"]
