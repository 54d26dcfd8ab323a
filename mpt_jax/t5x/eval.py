"""T5X's `eval.evaluate`, which `t5x eval` calls."""

from mpt_jax.engine.inference import inference
from mpt_jax.t5x.engines import by_engine

evaluate = by_engine(inference.evaluate, "mpt_jax.real_t5x.eval")

__all__ = ["evaluate"]
