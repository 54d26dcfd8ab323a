"""The layer norm of the rivals' small networks, as PyTorch has it; T5's own is without a mean."""

import jax
import jax.numpy as jnp

_EPSILON = 1e-5  # PyTorch's


def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """`x` [..., D] less its mean, over its deviation; times `scale`, plus `bias` (Ba et al.)."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = jnp.square(centred).mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + _EPSILON) * scale + bias
