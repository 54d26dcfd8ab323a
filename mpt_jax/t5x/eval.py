"""T5X's `eval.evaluate`, which `t5x eval` calls."""

from mpt_jax.engine.evaluation import evaluate as own
from mpt_jax.engine.settings import Evaluation
from mpt_jax.t5x.engines import by_engine

evaluate = by_engine(Evaluation, own.evaluate, "mpt_jax.real_t5x.eval")

__all__ = ["evaluate"]
