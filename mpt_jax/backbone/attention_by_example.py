"""Attention on a CPU: the dense form of one example after the other, and once more backward.

It takes as long as all examples at once, but the scores of only one are ever there.
"""

import functools

import jax

from mpt_jax.backbone import attention


def forward(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    bias: jax.Array | None,
    valid: jax.Array | None,
    *,
    head_dim: int,
) -> jax.Array:
    """As `attention.dense`."""
    return jax.lax.map(
        lambda example: _one(*example, bias=bias, head_dim=head_dim), (queries, keys, values, valid)
    )


def backward(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    bias: jax.Array | None,
    valid: jax.Array | None,
    gradient: jax.Array,
    *,
    head_dim: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gradients of queries, keys and values, by that of the result of `forward`."""

    def one(example):
        *inputs, seen, gradient = example
        form = functools.partial(_one, seen=seen, bias=bias, head_dim=head_dim)
        return jax.vjp(form, *inputs)[1](gradient)

    return jax.lax.map(one, (queries, keys, values, valid, gradient))


def _one(queries, keys, values, seen, *, bias, head_dim) -> jax.Array:
    """Of one example: [Q, H * d], twice [K, H * d] and [K] -> [Q, H * d]."""
    queries, keys, values = queries[None], keys[None], values[None]
    valid = None if seen is None else seen[None]
    return attention.dense(queries, keys, values, bias, valid, head_dim)[0]
