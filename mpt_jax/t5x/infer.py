"""T5X's `infer.infer`, which `t5x infer` calls."""

from mpt_jax.engine.inference import infer as own
from mpt_jax.engine.settings import Inference
from mpt_jax.t5x.engines import by_engine

infer = by_engine(Inference, own.infer, "mpt_jax.real_t5x.infer")

__all__ = ["infer"]
