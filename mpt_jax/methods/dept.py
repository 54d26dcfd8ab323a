"""DePT (Shi and Lipani, ICLR 2024): a short prompt, and a low-rank update of the embedded input.

The encoder reads the prompt P_k [P, D] and then, instead of the embedded text E [T, D],

    E[t] + (α / sqrt(r)) (A_k B_k)[t]    with A_k [s, r], B_k [r, D], α = 8

(section 2.2 of that paper; the factor is in the released code alone, ZhengxiangShi/DePT, file
`peft/tuners/prompt_tuning_lora.py`). The update is by position, the same for all texts, and s is
the longest input of the run. A starts uniform in ±1/sqrt(r), B at zero, as there. The code pads all
texts to s and fails on a longer one; here positions from s on stay as they are, and what padding
becomes is never seen.
"""

import dataclasses

import jax
import jax.numpy as jnp

from mpt_jax import initializers, prompts
from mpt_jax.methods.base import BACKBONE, FROZEN, PromptMethod, check_positive
from mpt_jax.methods.prompt_tuning import each_task
from mpt_jax.product.leaves import AXES

ALPHA = 8


def embed_text(bank: prompts.Bank, task_ids: jax.Array, text: prompts.Text) -> jax.Array:
    """The embedded text after its task's low-rank update.

    Args:
        bank: `task_a` [K, s, r] and `task_b` [K, r, D], float32.
        task_ids: [B] int32.
        text: embedded [B, T, D], T of any length.

    Returns:
        [B, T, D] in the dtype of `text.embedded`.
    """
    updated, rank = bank["task_a"].shape[1:]
    positions = jnp.arange(text.embedded.shape[1])
    rows = jnp.take(bank["task_a"][task_ids], jnp.minimum(positions, updated - 1), axis=1)
    rows = jnp.where((positions < updated)[None, :, None], rows, 0.0)
    # Some accelerators would round the factors to bfloat16.
    update = jnp.einsum("btr,brd->btd", rows, bank["task_b"][task_ids], precision="highest")
    embedded = text.embedded.astype(jnp.float32) + ALPHA * rank**-0.5 * update
    return embedded.astype(text.embedded.dtype)


@dataclasses.dataclass(frozen=True)
class DePT(PromptMethod):
    """Trains each task's prompt (group "task") and its update of the input ("low_rank").

    Attributes:
        prompt_length: P, 60 in the paper's tables (m there).
        rank: r, 30 there.
        input_length: s, the longest input in tokens, 256 there.
        initializer: the start of each prompt.
    """

    prompt_length: int = 60
    rank: int = 30
    input_length: int = 256
    initializer: initializers.Initializer = initializers.sampled_vocabulary

    name = "dept"
    independent_tasks = True
    groups = (
        ("prompt_bank/task_prompts", "task"),
        ("prompt_bank/task_[ab]", "low_rank"),
        ("teacher/.*", FROZEN),
        (BACKBONE, FROZEN),
    )
    bank_axes = {
        **AXES,
        "task_a": ("tasks", "length", "rank"),
        "task_b": ("tasks", "rank", "embed"),
    }
    embed_text = staticmethod(embed_text)

    def __post_init__(self):
        check_positive(self, "prompt_length", "rank", "input_length")

    def bank_shapes(self, num_tasks: int, width: int):
        """`task_prompts` [K, P, D], and what `embed_text` takes."""
        return {
            "task_prompts": (num_tasks, self.prompt_length, width),
            "task_a": (num_tasks, self.input_length, self.rank),
            "task_b": (num_tasks, self.rank, width),
        }

    def start(self, context: initializers.Context, rng: jax.Array):
        """Each task from its own draw; at first the text is as the backbone embeds it."""
        width = context.embedding.shape[1]

        def draw(rng, one):
            prompt_rng, low_rank_rng = jax.random.split(rng)
            shape = (self.input_length, self.rank)
            return {
                "task_prompts": self.initializer(prompt_rng, self.prompt_length, one),
                "task_a": initializers.within_fan_in(low_rank_rng, shape, self.rank),
                "task_b": jnp.zeros((self.rank, width)),
            }

        return {"prompt_bank": each_task(draw, context, rng)}
