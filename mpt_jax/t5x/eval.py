"""T5X's `eval.evaluate`, which `t5x eval` calls."""

from mpt_jax.engine.inference import evaluate

__all__ = ["evaluate"]
