"""DPT, decomposed prompt tuning (Xiao et al. 2023): a prompt is the product of two thin matrices.

    P_k = A_k B_k    with A_k [P, r], B_k [r, D]

with r = 10. Both start uniform in ±0.5, as in the released code (XYaoooo/DPT). The product of a run
keeps the factors: r (P + D) numbers a task, 8,680 on T5-Base, where the folded prompt has 76,800.
"""

import dataclasses

import jax
import jax.numpy as jnp

from mpt_jax import initializers, prompts
from mpt_jax.methods.base import PromptMethod, check_positive
from mpt_jax.methods.prompt_tuning import each_task
from mpt_jax.product.leaves import AXES


def compose(bank: prompts.Bank, task_ids: jax.Array, text: prompts.Text | None = None) -> jax.Array:
    """The prompt of each example, A B of its task.

    Args:
        bank: `task_a` [K, P, r] and `task_b` [K, r, D], float32.
        task_ids: [B] int32.
        text: without effect; part of `prompts.Compose`.

    Returns:
        [B, P, D] float32.
    """
    del text
    # Some accelerators would round the factors to bfloat16.
    return jnp.einsum(
        "bpr,brd->bpd", bank["task_a"][task_ids], bank["task_b"][task_ids], precision="highest"
    )


@dataclasses.dataclass(frozen=True)
class DPT(PromptMethod):
    """Trains both factors of each task's prompt (group "task").

    Attributes:
        prompt_length: P, 100 in the paper.
        rank: r, 10 in the paper.
        scale: both factors start uniform in ±scale.
    """

    prompt_length: int = 100
    rank: int = 10
    scale: float = 0.5

    name = "dpt"
    independent_tasks = True
    bank_axes = {
        **AXES,
        "task_a": ("tasks", "prompt_length", "rank"),
        "task_b": ("tasks", "rank", "embed"),
    }
    compose = staticmethod(compose)

    def __post_init__(self):
        check_positive(self, "prompt_length", "rank")

    def bank_shapes(self, num_tasks: int, width: int):
        """The leaves of `compose`."""
        return {
            "task_a": (num_tasks, self.prompt_length, self.rank),
            "task_b": (num_tasks, self.rank, width),
        }

    def start(self, context: initializers.Context, rng: jax.Array):
        """Each task's factors from its own draw, whichever other tasks there are."""
        shapes = self.bank_shapes(1, context.embedding.shape[1])

        def draw(rng, unused_context):
            keys = dict(zip(shapes, jax.random.split(rng, len(shapes)), strict=True))
            return {
                name: jax.random.uniform(
                    keys[name], shape[1:], minval=-self.scale, maxval=self.scale
                )
                for name, shape in shapes.items()
            }

        return {"prompt_bank": each_task(draw, context, rng)}
