"""Attention as T5 has it, in plain JAX: [B, Q, H * d] and [B, K, H * d] -> [B, Q, H * d].

There is no 1/sqrt(d): T5 folds it into the initialisation of the query kernel.
"""

import functools

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
    weights = jax.nn.softmax(scores(queries, keys, bias, valid)).astype(values.dtype)
    return einsum("bhqk,bhkd->bhqd", weights, values).astype(values.dtype)


# These serve a batch and a single example, which has no axis B.

einsum = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


def scores(queries, keys, bias, valid) -> jax.Array:
    """[B, H, Q, d], [B, H, K, d], [H, Q, K] and [B, K] -> [B, H, Q, K] float32."""
    found = einsum("...qd,...kd->...qk", queries, keys)
    if bias is not None:
        found += bias
    return found if valid is None else jnp.where(valid[..., None, None, :], found, MASKED)


def split(x: jax.Array, head_dim: int) -> jax.Array:
    """[B, T, H * d] -> [B, H, T, d]."""
    return x.reshape(*x.shape[:-1], -1, head_dim).swapaxes(-2, -3)


def join(x: jax.Array) -> jax.Array:
    """[B, H, T, d] -> [B, T, H * d]."""
    heads_last = x.swapaxes(-2, -3)
    return heads_last.reshape(*heads_last.shape[:-2], -1)
