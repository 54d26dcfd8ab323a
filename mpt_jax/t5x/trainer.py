"""T5X's `trainer` names."""

from mpt_jax.engine.settings import Trainer

__all__ = ["Trainer"]
