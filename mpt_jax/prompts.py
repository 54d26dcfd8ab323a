"""Prompt banks: the parameters of all tasks of a run, and how they compose, as pure functions.

A bank is a flat dict of arrays. Which leaves it holds is the method's choice:

- `shared` [P, D], `task_u` [K, P, R], `task_v` [K, R, D]: multitask prompt tuning,
  `P_k = P* ∘ (U_k V_k)` (Wang et al. 2023, section 3.1; R = 1 in the paper);
- `task_prompts` [K, P, D]: one whole prompt per task (Lester et al. 2021);
- only `shared` [P, D]: one prompt for all tasks.

A method may bring further leaves and compose them in its own way (`methods/attempt.py`).
Letters: B batch, T input length, P prompt length, D model width, K tasks, R rank.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mpt_jax.errors import UserError
from mpt_jax.product.leaves import Bank, rows_of, take


class Text(NamedTuple):
    """The input that a prompt is put in front of, for prompts that depend on it."""

    embedded: jax.Array  # [B, T, D]
    valid: jax.Array  # [B, T] bool, False at padding


# bank, task_ids [B], text -> prompts [B, P, D]
Compose = Callable[[Bank, jax.Array, Text | None], jax.Array]
# bank, task_ids [B], text -> the embedded text [B, T, D] that comes after the prompts
EmbedText = Callable[[Bank, jax.Array, Text], jax.Array]


def embed_text(bank: Bank, task_ids: jax.Array, text: Text) -> jax.Array:
    """The text as the backbone embeds it, [B, T, D]."""
    del bank, task_ids
    return text.embedded


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
