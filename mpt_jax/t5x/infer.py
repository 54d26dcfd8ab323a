"""T5X's `infer.infer`, which `t5x infer` calls."""

from mpt_jax.engine.inference import infer

__all__ = ["infer"]
