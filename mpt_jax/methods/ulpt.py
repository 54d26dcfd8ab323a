"""ULPT (Wu, Hao and Mou 2025): a prompt in few dimensions, lifted by a frozen random matrix.

    P_k = (Z_k W) ∘ s_k + b_k    with Z_k [P, r], W [r, D], s_k [D], b_k [D]

W is drawn once, uniform in ±sqrt(6 / (r + D)), and never stored: a seed
stands for it. Z starts standard normal, s at one, b at zero, as in the released code
(MANGA-UOFA/ULPT, whose `scale` and `bias` are s and b). A task has r P + 2 D numbers, 7,936 on
T5-Base; W is the same for all tasks.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax.extend import random as threefry

from mpt_jax import initializers, prompts
from mpt_jax.errors import UserError
from mpt_jax.methods.base import BACKBONE, FROZEN, PromptMethod, check_positive
from mpt_jax.methods.prompt_tuning import each_task
from mpt_jax.product.leaves import AXES

LARGEST_SEED = 2**24 - 1  # a bank holds float32, which is exact up to here


def projection(seed: jax.Array | int, rank: int, width: int) -> jax.Array:
    """W, the same bits on every platform and under every setting of jax.

    The counters 0 .. r·D - 1 are hashed by Threefry-2x32 with the key (0, seed); the 24 highest
    bits of each hash are a whole number from -2^23 to 2^23 - 1, scaled. All steps but the last
    product are exact.

    Args:
        seed: whole number from 0 to `LARGEST_SEED`, of any dtype.
        rank, width: r and D.

    Returns:
        [r, D] float32, uniform in ±sqrt(6 / (r + D)) (Glorot and Bengio 2010).
    """
    key = jnp.stack([jnp.uint32(0), jnp.asarray(seed).astype(jnp.uint32)])
    bits = threefry.threefry_2x32(key, jnp.arange(rank * width, dtype=jnp.uint32)) >> 8
    unit = bits.astype(jnp.float32) * 2**-23 - 1
    return math.sqrt(6 / (rank + width)) * unit.reshape(rank, width)


def compose(bank: prompts.Bank, task_ids: jax.Array, text: prompts.Text | None = None) -> jax.Array:
    """The prompt of each example, (Z W) ∘ s + b of its task.

    Args:
        bank: `task_z` [K, P, r], `task_scale` and `task_shift` [K, D], `projection_seed` [],
            float32.
        task_ids: [B] int32.
        text: without effect; part of `prompts.Compose`.

    Returns:
        [B, P, D] float32.

    Raises:
        UserError: the bank has no seed, as that of a damaged file.
    """
    del text
    if "projection_seed" not in bank:
        raise UserError(
            "a product of ULPT without its projection_seed makes no prompt, as the seed stands for "
            "a random matrix: restore the file from a copy, or train again."
        )
    scale, shift = bank["task_scale"][task_ids], bank["task_shift"][task_ids]
    lift = projection(bank["projection_seed"], bank["task_z"].shape[2], scale.shape[1])
    # Some accelerators would round the factors to bfloat16.
    lifted = jnp.einsum("bpr,rd->bpd", bank["task_z"][task_ids], lift, precision="highest")
    return lifted * scale[:, None] + shift[:, None]


@dataclasses.dataclass(frozen=True)
class ULPT(PromptMethod):
    """Trains Z, s and b of each task (group "task"); W stays as its seed says.

    Attributes:
        prompt_length: P, 100 in the paper.
        rank: r, 64 in the paper's tables, 2 at the least.
        seed: of W; the tasks of a bank have the same.
    """

    prompt_length: int = 100
    rank: int = 64
    seed: int = 0

    name = "ulpt"
    independent_tasks = True
    groups = (
        ("prompt_bank/task_.*", "task"),
        ("prompt_bank/projection_seed", FROZEN),
        ("teacher/.*", FROZEN),
        (BACKBONE, FROZEN),
    )
    bank_axes = {
        **AXES,
        "task_z": ("tasks", "prompt_length", "rank"),
        "task_scale": ("tasks", "embed"),
        "task_shift": ("tasks", "embed"),
        "projection_seed": (),
    }
    compose = staticmethod(compose)

    def __post_init__(self):
        check_positive(self, "prompt_length", "rank")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise UserError(f"ULPT.seed must be from 0 to {LARGEST_SEED:,}, not {self.seed}.")

    def bank_shapes(self, num_tasks: int, width: int):
        """The leaves of `compose`."""
        return {
            "task_z": (num_tasks, self.prompt_length, self.rank),
            "task_scale": (num_tasks, width),
            "task_shift": (num_tasks, width),
            "projection_seed": (),
        }

    def start(self, context: initializers.Context, rng: jax.Array):
        """Each task's Z from its own draw, whichever other tasks there are."""
        width = context.embedding.shape[1]

        def draw(rng, unused_context):
            return {
                "task_z": jax.random.normal(rng, (self.prompt_length, self.rank)),
                "task_scale": jnp.ones(width),
                "task_shift": jnp.zeros(width),
            }

        bank = each_task(draw, context, rng)
        return {"prompt_bank": {**bank, "projection_seed": jnp.float32(self.seed)}}
