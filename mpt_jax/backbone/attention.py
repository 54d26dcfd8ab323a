"""Attention as T5 has it, in plain JAX: [B, Q, H * d] and [B, K, H * d] -> [B, Q, H * d].

There is no 1/sqrt(d): T5 folds it into the initialisation of the query kernel.
"""

import jax
import jax.numpy as jnp

# The score of a key that must not be seen: finite, so that a row without any valid key (an
# all-padding example) gives a uniform average and no NaN.
MASKED = -1e9


def dense(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    bias: jax.Array | None,
    valid: jax.Array | None,
    head_dim: int,
) -> jax.Array:
    """Multi-head attention that holds all scores at once; scores and softmax in float32.

    Args:
        queries: [B, Q, H * d].
        keys: [B, K, H * d].
        values: [B, K, H * d].
        bias: added to the scores, [H, Q, K] float32; None: nothing.
        valid: keys that may be seen, [B, K] bool; None: all.
        head_dim: d.

    Returns:
        [B, Q, H * d] in the dtype of the values.
    """
    queries, keys, values = (split(x, head_dim) for x in (queries, keys, values))
    return join(mix(queries, keys, values, bias, valid))


def mix(queries, keys, values, bias, valid) -> jax.Array:
    """`dense` of heads apart: [B, H, Q, d] and [B, H, K, d] -> [B, H, Q, d]."""
    precise = {"preferred_element_type": jnp.float32}
    scores = jnp.einsum("bhqd,bhkd->bhqk", queries, keys, **precise)
    if bias is not None:
        scores += bias
    if valid is not None:
        scores = jnp.where(valid[:, None, None, :], scores, MASKED)
    weights = jax.nn.softmax(scores).astype(values.dtype)
    return jnp.einsum("bhqk,bhkd->bhqd", weights, values, **precise).astype(values.dtype)


def split(x: jax.Array, head_dim: int) -> jax.Array:
    """[B, T, H * d] -> [B, H, T, d]."""
    return x.reshape(*x.shape[:2], -1, head_dim).transpose(0, 2, 1, 3)


def join(x: jax.Array) -> jax.Array:
    """[B, H, T, d] -> [B, T, H * d]."""
    batch, _, length, _ = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, length, -1)
