"""Attention on a CPU: one example after the other, so that the scores of only one are ever there.

The backward pass computes the scores again, as flash attention does (Dao et al. 2022). The highest
score and the sum of each softmax are kept. (The logarithm of the sum alone would be lost where all
keys are masked, next to -1e9.)
"""

import functools

import jax
import jax.numpy as jnp

from mpt_jax.backbone.attention import MASKED

_einsum = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


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
        queries, keys, values = (_split(x, head_dim) for x in (queries, keys, values))
        scores = _scores(queries, keys, bias, seen)
        highest = jnp.max(scores, axis=-1, keepdims=True)
        weights = jnp.exp(scores - highest)
        sums = jnp.sum(weights, axis=-1, keepdims=True)
        mixed = _einsum("hqk,hkd->hqd", weights.astype(values.dtype), values) / sums
        return _join(mixed.astype(values.dtype)), highest[..., 0], sums[..., 0]

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
        queries, keys, values, gradient = (_split(x, head_dim) for x in arrays)
        scores = _scores(queries, keys, bias, seen)
        weights = jnp.exp(scores - highest[..., None]) * (1 / sums)[..., None]
        of_weights = _einsum("hqd,hkd->hqk", gradient, values)
        along = jnp.sum(weights * of_weights, axis=-1, keepdims=True)
        of_scores = weights * (of_weights - along)
        if seen is not None:
            of_scores = jnp.where(seen, of_scores, 0)
        weights, of_scores = weights.astype(values.dtype), of_scores.astype(values.dtype)
        gradients = (
            _einsum("hqk,hkd->hqd", of_scores, keys),
            _einsum("hqk,hqd->hkd", of_scores, queries),
            _einsum("hqk,hqd->hkd", weights, gradient),
        )
        return tuple(_join(x.astype(values.dtype)) for x in gradients)

    return jax.lax.map(one, (queries, keys, values, gradient, valid, highest, sums))


def _scores(queries, keys, bias, seen) -> jax.Array:
    """[H, Q, d] and [H, K, d] -> [H, Q, K] float32."""
    scores = _einsum("hqd,hkd->hqk", queries, keys)
    if bias is not None:
        scores += bias
    return scores if seen is None else jnp.where(seen, scores, MASKED)


def _split(x: jax.Array, head_dim: int) -> jax.Array:
    """[T, H * d] -> [H, T, d]."""
    return x.reshape(len(x), -1, head_dim).transpose(1, 0, 2)


def _join(x: jax.Array) -> jax.Array:
    """[H, T, d] -> [T, H * d]."""
    return x.transpose(1, 0, 2).reshape(x.shape[1], -1)
