"""ATTEMPT (Asai et al. 2022): attention over frozen source prompts and a trained target prompt.

Each input mixes its own prompt: with X the embedded text, P_1..P_N the source prompts and P_k the
target task's,

    h = LayerNorm(silu(max_t(X) · down) · up)                              [D]
    a = softmax_j(max_p(P_j) · h / T),  j over the sources and the target  [N + 1]
    prompt = P_k + Σ_j a_j P_j                                             [P, D]

with the maximum over positions and T = e · D (section 3.2 of that paper). The attention network is
shared by the tasks of a run, the source prompts never move. Epsilon and start are those of the
released code (AkariAsai/ATTEMPT); its maximum runs over padding too, ours over the text alone.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from mpt_jax import initializers, prompts
from mpt_jax.errors import UserError
from mpt_jax.methods.base import BACKBONE, FROZEN, PromptMethod, check_positive
from mpt_jax.methods.layer_norm import layer_norm
from mpt_jax.methods.prompt_tuning import own_prompts
from mpt_jax.product import product_file
from mpt_jax.product.description import ProductInfo
from mpt_jax.product.leaves import AXES


def compose(bank: prompts.Bank, task_ids: jax.Array, text: prompts.Text) -> jax.Array:
    """The prompt of each example, by attention.

    Args:
        bank: `source_prompts` [N, P, D], `task_prompts` [K, P, D], and the attention network's
            `attention_down` [D, A], `attention_up` [A, D], `attention_scale` and
            `attention_bias` [D].
        task_ids: [B] int32.
        text: embedded [B, T, D] and valid [B, T].

    Returns:
        [B, P, D] float32.
    """
    sources, own = bank["source_prompts"], bank["task_prompts"][task_ids]
    weights = attention(bank, own, text)
    mixed = jnp.einsum("bn,npd->bpd", weights[:, :-1], sources)
    return own + mixed + weights[:, -1, None, None] * own


def attention(bank: prompts.Bank, own: jax.Array, text: prompts.Text) -> jax.Array:
    """Weights [B, N + 1] over the N source prompts and, last, each example's own [B, P, D]."""
    embedded = jnp.where(text.valid[:, :, None], text.embedded.astype(jnp.float32), -jnp.inf)
    pooled = jnp.where(text.valid.any(axis=1)[:, None], embedded.max(axis=1), 0.0)
    hidden = jax.nn.silu(pooled @ bank["attention_down"]) @ bank["attention_up"]
    query = layer_norm(hidden, bank["attention_scale"], bank["attention_bias"])
    to_sources = query @ bank["source_prompts"].max(axis=1).T
    to_own = jnp.sum(query * own.max(axis=1), axis=1, keepdims=True)
    temperature = math.e * query.shape[-1]
    return jax.nn.softmax(jnp.concatenate([to_sources, to_own], axis=1) / temperature)


@dataclasses.dataclass(frozen=True)
class Attempt(PromptMethod):
    """Trains a prompt per target task (group "task") and the attention network ("shared").

    Attributes:
        source_prompts: prompt file (or run folder) whose tasks' composed prompts are attended to:
            of a source run, or its teachers.
        prompt_length: P, that of the source prompts.
        bottleneck: A, the width of the attention network; 100 gives the paper's 232K for T5-Base.
        initializer: the start of each target prompt.
    """

    source_prompts: str
    prompt_length: int = 100
    bottleneck: int = 100
    initializer: initializers.Initializer = initializers.sampled_vocabulary

    name = "attempt"
    reads_text = True
    groups = (
        ("prompt_bank/source_prompts", FROZEN),
        ("prompt_bank/task_prompts", "task"),
        ("prompt_bank/attention_.*", "shared"),
        (BACKBONE, FROZEN),
    )
    bank_axes = {
        **AXES,
        "source_prompts": ("sources", "prompt_length", "embed"),
        "attention_down": ("embed", "bottleneck"),
        "attention_up": ("bottleneck", "embed"),
        "attention_scale": ("embed",),
        "attention_bias": ("embed",),
    }
    compose = staticmethod(compose)

    def __post_init__(self):
        check_positive(self, "bottleneck")
        if self._sources.length != self.prompt_length:
            raise UserError(
                f"source prompts {self.source_prompts} have length {self._sources.length}, this "
                f"run asks for {self.prompt_length}: set PROMPT_LENGTH = {self._sources.length}."
            )

    @functools.cached_property
    def _sources(self) -> ProductInfo:
        return product_file.load(self.source_prompts)[1]

    def bank_shapes(self, num_tasks: int, width: int):
        """The leaves of `compose`."""
        prompt = (self.prompt_length, width)
        return {
            "source_prompts": (len(self._sources.tasks), *prompt),
            "task_prompts": (num_tasks, *prompt),
            "attention_down": (width, self.bottleneck),
            "attention_up": (self.bottleneck, width),
            "attention_scale": (width,),
            "attention_bias": (width,),
        }

    def start(self, context: initializers.Context, rng: jax.Array):
        """Composed source prompts, target prompts as in prompt tuning, a random network."""
        bank, info = context.load_prompts(self.source_prompts)
        bank = jax.tree.map(jnp.asarray, bank)
        width, sources = context.embedding.shape[1], jnp.arange(len(info.tasks))
        prompt_rng, down_rng, up_rng = jax.random.split(rng, 3)
        draw = initializers.within_fan_in
        started = {
            "source_prompts": prompts.compose(bank, sources),
            "task_prompts": own_prompts(self.initializer, self.prompt_length, context, prompt_rng),
            "attention_down": draw(down_rng, (width, self.bottleneck), width),
            "attention_up": draw(up_rng, (self.bottleneck, width), self.bottleneck),
            "attention_scale": jnp.ones(width),
            "attention_bias": jnp.zeros(width),
        }
        return {"prompt_bank": started}
