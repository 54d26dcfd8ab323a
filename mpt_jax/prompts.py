"""Prompt banks: the parameters of all tasks of a run, how they compose, and the prompted T5.

A bank is a flat dict of arrays. Which leaves it holds is the method's choice:

- `shared` [P, D], `task_u` [K, P, R], `task_v` [K, R, D]: multitask prompt tuning,
  `P_k = P* ∘ (U_k V_k)` (Wang et al. 2023, section 3.1; R = 1 in the paper);
- `task_prompts` [K, P, D]: one whole prompt per task (Lester et al. 2021);
- only `shared` [P, D]: one prompt for all tasks.

A method may bring further leaves and compose them in its own way (`methods/attempt.py`).
Letters: B batch, T input length, P prompt length, D model width, K tasks, R rank.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mpt_jax.backbone.network import Transformer, encoder_valid
from mpt_jax.errors import UserError
from mpt_jax.product.leaves import Bank, rows_of, take


class Text(NamedTuple):
    """The input that a prompt is put in front of, for prompts that depend on it."""

    embedded: jax.Array  # [B, T, D]
    valid: jax.Array  # [B, T] bool, False at padding


# bank, task_ids [B], text -> prompts [B, P, D]
Compose = Callable[[Bank, jax.Array, Text | None], jax.Array]


def compose(bank: Bank, task_ids: jax.Array, text: Text | None = None) -> jax.Array:
    """The prompt of each example.

    Args:
        bank: leaves as in the module docstring, float.
        task_ids: [B] int32, in [0, K).
        text: without effect; part of `Compose`.

    Returns:
        [B, P, D]: `shared * (task_u[k] @ task_v[k])` (elementwise product; paper, section 3.1),
        or the task's own prompt, or the shared prompt B times. Cost: B·P·D multiplications per
        rank, whatever K is.

    Raises:
        UserError: the bank lacks leaves, as that of a damaged file does.
    """
    del text
    if "task_prompts" in bank:
        return bank["task_prompts"][task_ids]
    if "shared" not in bank or ("task_u" in bank) != ("task_v" in bank):
        raise UserError(f"a prompt bank with only {', '.join(sorted(bank))} makes no prompt.")
    shared = bank["shared"]
    if "task_u" not in bank:
        return jnp.broadcast_to(shared, (task_ids.shape[0], *shared.shape))
    weights = jnp.einsum("bpr,brd->bpd", bank["task_u"][task_ids], bank["task_v"][task_ids])
    return shared[None] * weights


def factorized_shapes(num_tasks: int, length: int, width: int, rank: int) -> dict[str, tuple]:
    """Leaf shapes of a multitask prompt tuning bank: P·D + K·R·(P + D) numbers."""
    return {
        "shared": (length, width),
        "task_u": (num_tasks, length, rank),
        "task_v": (num_tasks, rank, width),
    }


def unit_factors(num_tasks: int, length: int, width: int, rank: int, rng: jax.Array) -> Bank:
    """Task factors whose product is exactly one, so that every task starts at the shared prompt.

    The first component is all ones. Further components (R > 1) start at a zero `task_u` and a
    small random `task_v` (std 0.02): product zero, gradient not.

    Returns:
        `task_u` [K, P, R] and `task_v` [K, R, D], float32.
    """
    task_u = jnp.zeros((num_tasks, length, rank)).at[:, :, 0].set(1.0)
    noise = 0.02 * jax.random.normal(rng, (num_tasks, rank, width))
    return {"task_u": task_u, "task_v": noise.at[:, 0, :].set(1.0)}


def mean_factors(bank: Bank) -> Bank:
    """The factors of a new task as the mean over the bank's tasks of u and of v, separately.

    The paper's start of a target task (section 3.2); K = 1 in the result. A bank without factors
    gives its mean prompt.
    """
    kept = {name: leaf for name, leaf in bank.items() if name == "shared"}
    means = {
        name: np.mean(leaf, axis=0, keepdims=True)
        for name, leaf in bank.items()
        if name != "shared"
    }
    return {**kept, **means}


def select_task(bank: Bank, tasks: tuple[str, ...], name: str) -> Bank:
    """The bank of only one task of `tasks` [K] (K = 1).

    Raises:
        UserError: `name` is not one of the bank's tasks.
    """
    return take(bank, rows_of(tasks, [name]))


class PromptBank(nn.Module):
    """The bank as a Flax module; parameter shapes are given leaf by leaf.

    Attributes:
        shapes: leaf name -> shape, e.g. from `factorized_shapes`.
        compose: how prompts are made of the leaves.
    """

    shapes: Mapping[str, tuple[int, ...]]
    compose: Compose = compose

    @nn.compact
    def __call__(self, task_ids: jax.Array, text: Text) -> jax.Array:
        """task_ids [B] int32 and their text -> prompts [B, P, D] float32."""
        # A placeholder start: the method's `start` replaces it once the backbone is loaded.
        init = nn.initializers.uniform(scale=0.5)
        bank = {name: self.param(name, init, tuple(shape)) for name, shape in self.shapes.items()}
        return self.compose(bank, task_ids, text)


class PromptedTransformer(Transformer):
    """The T5 whose embedding layer puts each example's prompt in front of its text.

    Parameter names of the backbone stay T5X's; the bank adds the sub-tree `prompt_bank/`.

    Attributes:
        prompt_bank: the module that gives prompts [B, P, D] for task ids [B] and their text;
            None: no prompt.
    """

    prompt_bank: nn.Module | None = None

    def embed_prompts(
        self, task_ids: jax.Array | None, encoder_input_tokens: jax.Array
    ) -> jax.Array | None:
        """[B], [B, T] int32 -> prompts [B, P, D]; None for a model without prompts."""
        if self.prompt_bank is None or task_ids is None:
            return None
        embedded = self.token_embedder(encoder_input_tokens)
        return self.prompt_bank(task_ids, Text(embedded, encoder_valid(encoder_input_tokens)))

    def encode(self, encoder_input_tokens, prompts=None, *, task_ids=None, enable_dropout=False):
        """As `Transformer.encode`; prompts [B, P, D] default to those of task_ids [B]."""
        if prompts is None:
            prompts = self.embed_prompts(task_ids, encoder_input_tokens)
        return super().encode(encoder_input_tokens, prompts, enable_dropout=enable_dropout)

    def __call__(
        self,
        encoder_input_tokens,
        decoder_input_tokens,
        prompts=None,
        *,
        task_ids=None,
        enable_dropout=False,
    ):
        """As `Transformer.__call__`; prompts [B, P, D] default to those of task_ids [B]."""
        if prompts is None:
            prompts = self.embed_prompts(task_ids, encoder_input_tokens)
        return super().__call__(
            encoder_input_tokens, decoder_input_tokens, prompts, enable_dropout=enable_dropout
        )
