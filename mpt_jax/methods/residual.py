"""Residual prompt tuning (Razdaibiedina et al. 2023): a prompt trained through a small network.

    P'_k = P_k + LayerNorm(relu(P_k down + c) up + e)    by position, P_k [P, D]

with one network for all positions of a task's prompt, which is the default of the released code
(arazd/ResidualPrompts). The network starts as PyTorch's layers do, the
layer norm at one and zero. The network is only for training: the product of a run is P'_k, whole
prompts as of prompt tuning.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mpt_jax import initializers, prompts
from mpt_jax.methods.base import PromptMethod, check_positive
from mpt_jax.methods.layer_norm import layer_norm
from mpt_jax.methods.prompt_tuning import each_task
from mpt_jax.product.leaves import AXES


def fold(bank: prompts.Bank) -> jax.Array:
    """The prompts of all tasks after their networks.

    Args:
        bank: `task_prompts` [K, P, D]; `task_down` [K, D, H], `task_down_bias` [K, H],
            `task_up` [K, H, D], `task_up_bias`, `task_norm_scale` and `task_norm_bias` [K, D].

    Returns:
        [K, P, D] float32.
    """

    def dense(x, name):  # products of factors that some accelerators would round to bfloat16
        kernel = bank[f"task_{name}"]
        return jnp.matmul(x, kernel, precision="highest") + bank[f"task_{name}_bias"][:, None]

    start = bank["task_prompts"]
    x = dense(jax.nn.relu(dense(start, "down")), "up")
    scale, bias = (bank[f"task_norm_{name}"][:, None] for name in ("scale", "bias"))
    return start + layer_norm(x, scale, bias)


def compose(bank: prompts.Bank, task_ids: jax.Array, text: prompts.Text | None = None) -> jax.Array:
    """The prompt of each example; of a folded bank, its task's whole prompt.

    Args:
        bank: as in `fold`, or `task_prompts` [K, P, D] alone.
        task_ids: [B] int32.
        text: without effect; part of `prompts.Compose`.

    Returns:
        [B, P, D] float32.
    """
    if "task_down" not in bank:
        return prompts.compose(bank, task_ids, text)
    return fold(bank)[task_ids]


@dataclasses.dataclass(frozen=True)
class ResidualPromptTuning(PromptMethod):
    """Trains each task's prompt and its network (group "task"); folded when saved.

    Attributes:
        prompt_length: P; 10 and 100 in the paper.
        bottleneck: H, the width of the network.
        initializer: the start of each prompt.
    """

    prompt_length: int = 100
    bottleneck: int = 400
    initializer: initializers.Initializer = initializers.sampled_vocabulary

    name = "residual"
    independent_tasks = True
    bank_axes = {
        **AXES,
        "task_down": ("tasks", "embed", "bottleneck"),
        "task_down_bias": ("tasks", "bottleneck"),
        "task_up": ("tasks", "bottleneck", "embed"),
        "task_up_bias": ("tasks", "embed"),
        "task_norm_scale": ("tasks", "embed"),
        "task_norm_bias": ("tasks", "embed"),
    }
    compose = staticmethod(compose)

    def __post_init__(self):
        check_positive(self, "prompt_length", "bottleneck")

    def bank_shapes(self, num_tasks: int, width: int):
        """The leaves of `fold`."""
        return {
            "task_prompts": (num_tasks, self.prompt_length, width),
            "task_down": (num_tasks, width, self.bottleneck),
            "task_down_bias": (num_tasks, self.bottleneck),
            "task_up": (num_tasks, self.bottleneck, width),
            "task_up_bias": (num_tasks, width),
            "task_norm_scale": (num_tasks, width),
            "task_norm_bias": (num_tasks, width),
        }

    def start(self, context: initializers.Context, rng: jax.Array):
        """Each task's prompt and network from its own draw, whichever other tasks there are."""
        width, inner = context.embedding.shape[1], self.bottleneck

        def draw(rng, one):
            prompt_rng, *keys = jax.random.split(rng, 5)
            within = initializers.within_fan_in
            return {
                "task_prompts": self.initializer(prompt_rng, self.prompt_length, one),
                "task_down": within(keys[0], (width, inner), width),
                "task_down_bias": within(keys[1], (inner,), width),
                "task_up": within(keys[2], (inner, width), inner),
                "task_up_bias": within(keys[3], (width,), inner),
                "task_norm_scale": jnp.ones(width),
                "task_norm_bias": jnp.zeros(width),
            }

        return {"prompt_bank": each_task(draw, context, rng)}

    def stored(self, bank: prompts.Bank) -> prompts.Bank:
        """`task_prompts` [K, P, D] after the networks, and nothing else."""
        return {"task_prompts": np.asarray(jax.jit(fold)(bank))}
