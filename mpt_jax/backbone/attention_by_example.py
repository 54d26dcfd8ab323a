"""Attention on a CPU: one example after the other, so that the scores of only one are ever there.

The backward pass computes the scores again, as flash attention does (Dao et al. 2022). The highest
score and the sum of each softmax are kept. (The logarithm of the sum alone would be lost where all
keys are masked, next to -1e9.)
"""

import jax
import jax.numpy as jnp

from mpt_jax.backbone.attention import einsum, join, scores, split


def forward(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    bias: jax.Array | None,
    valid: jax.Array | None,
    *,
    head_dim: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """As `attention.dense`.

    Returns:
        [B, Q, H * d], and what `backward` needs: of each softmax the highest score and the sum of
        exp(score - highest), each [B, H, Q] float32.
    """

    def one(example):
        queries, keys, values, seen = example
        queries, keys, values = (split(x, head_dim) for x in (queries, keys, values))
        found = scores(queries, keys, bias, seen)
        highest = jnp.max(found, axis=-1, keepdims=True)
        weights = jnp.exp(found - highest)
        sums = jnp.sum(weights, axis=-1, keepdims=True)
        mixed = einsum("hqk,hkd->hqd", weights.astype(values.dtype), values) / sums
        return join(mixed.astype(values.dtype)), highest[..., 0], sums[..., 0]

    return jax.lax.map(one, (queries, keys, values, valid))


def backward(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    bias: jax.Array | None,
    valid: jax.Array | None,
    gradient: jax.Array,
    highest: jax.Array,
    sums: jax.Array,
    *,
    head_dim: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gradients of queries, keys and values, by that of the result of `forward`.

    Args:
        queries, keys, values, bias, valid, head_dim: as `attention.dense`.
        gradient: of the result, [B, Q, H * d].
        highest, sums: what `forward` returned with it, [B, H, Q].
    """

    def one(example):
        *arrays, seen, highest, sums = example
        queries, keys, values, gradient = (split(x, head_dim) for x in arrays)
        found = scores(queries, keys, bias, seen)
        weights = jnp.exp(found - highest[..., None]) * (1 / sums)[..., None]
        of_weights = einsum("hqd,hkd->hqk", gradient, values)
        along = jnp.sum(weights * of_weights, axis=-1, keepdims=True)
        of_scores = weights * (of_weights - along)
        if seen is not None:
            of_scores = jnp.where(seen, of_scores, 0)
        weights, of_scores = weights.astype(values.dtype), of_scores.astype(values.dtype)
        gradients = (
            einsum("hqk,hkd->hqd", of_scores, keys),
            einsum("hqk,hqd->hkd", of_scores, queries),
            einsum("hqk,hqd->hkd", weights, gradient),
        )
        return tuple(join(x.astype(values.dtype)) for x in gradients)

    return jax.lax.map(one, (queries, keys, values, gradient, valid, highest, sums))
