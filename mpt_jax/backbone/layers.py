"""The layers of T5, with T5X's parameter names.

Two choices are made for speed on every backend: a projection is one 2-D product over all
positions of the batch, [B * T, D] @ [D, F], and attention is the fused one where that can run
(`fused_attention`).
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from mpt_jax.backbone import attention, fused_attention
from mpt_jax.backbone.config import T5Config

# Cached variables that belong to one hypothesis; the others belong to one example.
CACHE_PER_HYPOTHESIS = ("cached_key", "cached_value")

_ACTIVATIONS = {"relu": nn.relu, "gelu": nn.gelu, "silu": nn.silu, "linear": lambda x: x}


class Dense(nn.Module):
    """Linear map of the last dimension without bias: [..., D] -> [..., F]; kernel [D, F]."""

    features: int
    dtype: jnp.dtype
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., D] -> [..., F]."""
        width = x.shape[-1]
        kernel = self.param("kernel", self.kernel_init, (width, self.features), jnp.float32)
        flat = x.reshape(-1, width).astype(self.dtype)
        return (flat @ kernel.astype(self.dtype)).reshape(*x.shape[:-1], self.features)


class LayerNorm(nn.Module):
    """T5's layer norm, x / rms(x) * scale: no mean, no bias; statistics in float32."""

    epsilon: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., D] -> [..., D]."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],), jnp.float32)
        x = x.astype(jnp.float32)
        mean_square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
        normed = (x * jax.lax.rsqrt(mean_square + self.epsilon)).astype(self.dtype)
        return normed * scale.astype(self.dtype)


class Embed(nn.Module):
    """Token embedding [V, D], which v1.0 also uses as output projection."""

    vocab_size: int
    emb_dim: int
    dtype: jnp.dtype

    def setup(self) -> None:
        """Declares the embedding, which lookup and logits share."""
        self.embedding = self.param(
            "embedding",
            nn.initializers.normal(stddev=1.0),
            (self.vocab_size, self.emb_dim),
            jnp.float32,
        )

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """[B, T] int32 -> [B, T, D]."""
        return jnp.asarray(self.embedding)[tokens].astype(self.dtype)

    def logits(self, x: jax.Array) -> jax.Array:
        """[B, S, D] -> [B, S, V] float32, with T5's 1/sqrt(D)."""
        flat = x.reshape(-1, self.emb_dim).astype(jnp.float32) / math.sqrt(self.emb_dim)
        logits = flat @ self.embedding.astype(jnp.float32).T
        return logits.reshape(*x.shape[:-1], self.vocab_size)


def relative_position_bucket(
    relative_position: jax.Array, *, bidirectional: bool, buckets: int, max_distance: int
) -> jax.Array:
    """The bucket of each key-minus-query distance (T5, Raffel et al. 2020, section 2.1).

    Half of the buckets hold one exact distance each; the other half grow logarithmically up to
    `max_distance`, beyond which all distances share the last one. A bidirectional stack splits
    the buckets between keys before and after the query; a causal one puts all keys after the
    query into bucket 0.

    Args:
        relative_position: int32, any shape.

    Returns:
        int32 of the same shape, in [0, buckets).
    """
    offset = jnp.zeros_like(relative_position)
    if bidirectional:
        buckets //= 2
        offset = jnp.where(relative_position > 0, buckets, 0)
        distance = jnp.abs(relative_position)
    else:
        distance = jnp.maximum(-relative_position, 0)
    exact = buckets // 2
    # Distances below `exact` take the other branch; the maximum keeps the logarithm finite.
    log_ratio = jnp.log(jnp.maximum(distance, exact).astype(jnp.float32) / exact)
    log_ratio = log_ratio / math.log(max_distance / exact)
    far = exact + (log_ratio * (buckets - exact)).astype(jnp.int32)
    return offset + jnp.where(distance < exact, distance, jnp.minimum(far, buckets - 1))


def position_buckets(
    config: T5Config, query_positions: jax.Array, key_positions: jax.Array, *, causal: bool
) -> jax.Array:
    """What `RelativePositionBias` looks up: positions [Q] and [K] int32 -> [Q, K] int32.

    The bucket of each query and key; where `causal`, -1 for a key after the query.
    """
    distance = key_positions[None, :] - query_positions[:, None]
    buckets = relative_position_bucket(
        distance,
        bidirectional=not causal,
        buckets=config.relpos_buckets,
        max_distance=config.relpos_max_distance,
    )
    return jnp.where(distance > 0, -1, buckets) if causal else buckets


class RelativePositionBias(nn.Module):
    """The learnt bias of attention scores, per head and distance bucket.

    One per stack, or one per layer (`T5Config.relpos_bias_per_layer`).
    """

    config: T5Config

    @nn.compact
    def __call__(self, buckets: jax.Array) -> jax.Array:
        """[Q, K] int32 of `position_buckets` -> [H, Q, K] float32, `MASKED` where they are -1."""
        cfg = self.config
        table = self.param(
            "rel_embedding",
            nn.initializers.variance_scaling(1.0, "fan_avg", "uniform"),
            (cfg.num_heads, cfg.relpos_buckets),
            jnp.float32,
        )
        bias = jnp.asarray(table, jnp.float32)[:, buckets]
        return jnp.where(buckets < 0, attention.MASKED, bias)


class Attention(nn.Module):
    """Multi-head attention, with an optional cache of keys and values."""

    config: T5Config
    deterministic: bool

    def setup(self) -> None:
        """Declares the projections, which all three ways to attend share."""
        cfg = self.config
        joined = cfg.num_heads * cfg.head_dim
        dtype = jnp.dtype(cfg.dtype)
        normal = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
        scaled = nn.initializers.variance_scaling(1.0 / cfg.head_dim, "fan_in", "normal")
        self.query = Dense(joined, dtype, scaled)
        self.key = Dense(joined, dtype, normal)
        self.value = Dense(joined, dtype, normal)
        self.out = Dense(cfg.emb_dim, dtype, normal)
        # Of weights [B, H, Q, K], one mask for all queries, as in T5X: so it may be of values.
        self.dropout = nn.Dropout(cfg.dropout_rate, broadcast_dims=(-1,))

    def __call__(
        self,
        x: jax.Array,
        memory: jax.Array,
        *,
        bias: jax.Array | None = None,
        valid: jax.Array | None = None,
    ) -> jax.Array:
        """Attends from x to memory.

        Args:
            x: queries' states [B, Q, D].
            memory: keys' and values' states [B, K, D].
            bias: added to the scores, [H, Q, K] float32.
            valid: keys that may be seen, [B, K] bool.

        Returns:
            [B, Q, D]
        """
        cfg = self.config
        values = self.value(memory).reshape(*memory.shape[:2], cfg.num_heads, cfg.head_dim)
        values = self.dropout(values, deterministic=self.deterministic)
        mixed = fused_attention.attend(
            "dense" if self.is_initializing() else cfg.attention,  # only shapes are asked for
            self.query(x),
            self.key(memory),
            values.reshape(*memory.shape[:2], -1),
            bias,
            valid,
            cfg.head_dim,
        )
        return self.out(mixed)

    def step_self(
        self, x: jax.Array, *, position: jax.Array | None, length: int, bias: jax.Array
    ) -> jax.Array:
        """Attends from new tokens to themselves and all earlier ones, which the cache holds.

        Args:
            x: the new tokens' states [B, Q, D].
            position: where they stand, an int32 scalar; None creates an empty cache.
            length: positions L that the cache holds.
            bias: [H, Q, L] float32, masking what is not written yet.

        Returns:
            [B, Q, D]
        """
        cfg = self.config
        shape = (x.shape[0], cfg.num_heads, length, cfg.head_dim)
        earlier = [
            self._cached(name, lambda: jnp.zeros(shape, jnp.dtype(cfg.dtype)))
            for name in CACHE_PER_HYPOTHESIS
        ]
        if position is not None:
            new = (self._split(self.key(x)), self._split(self.value(x)))
            at = (0, 0, position, 0)
            earlier = [
                jax.lax.dynamic_update_slice(old, piece, at)
                for old, piece in zip(earlier, new, strict=True)
            ]
            for name, value in zip(CACHE_PER_HYPOTHESIS, earlier, strict=True):
                self.put_variable("cache", name, value)
        return self._step(x, *earlier, bias, None)

    def step_cross(self, x: jax.Array, memory: jax.Array, *, valid: jax.Array) -> jax.Array:
        """Attends from new tokens to the encoder, whose keys and values are cached once.

        Args:
            x: the new tokens' states [B, Q, D], those of an example's hypotheses side by side.
            memory: encoder states [B, K, D]; read only while the cache does not exist.
            valid: [B, K] bool.

        Returns:
            [B, Q, D]
        """
        keys = self._cached("cross_key", lambda: self._split(self.key(memory)))
        values = self._cached("cross_value", lambda: self._split(self.value(memory)))
        return self._step(x, keys, values, None, valid)

    def _cached(self, name: str, create: Callable[[], jax.Array]) -> jax.Array:
        if not self.has_variable("cache", name):
            self.put_variable("cache", name, create())
        return self.get_variable("cache", name)

    def _split(self, x: jax.Array) -> jax.Array:
        return attention.split(x, self.config.head_dim)

    def _step(
        self,
        x: jax.Array,
        keys: jax.Array,
        values: jax.Array,
        bias: jax.Array | None,
        valid: jax.Array | None,
    ) -> jax.Array:
        """Few queries' states [B, Q, D], keys and values [B, H, K, d] -> [B, Q, D]."""
        mixed = attention.mix(self._split(self.query(x)), keys, values, bias, valid)
        return self.out(attention.join(mixed))


class Mlp(nn.Module):
    """The feed-forward layer: wi (v1.0) or the product of wi_0, wi_1, ... (gated), then wo."""

    config: T5Config
    deterministic: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, T, D] -> [B, T, D]."""
        cfg = self.config
        dtype = jnp.dtype(cfg.dtype)
        gated = len(cfg.mlp_activations) > 1
        hidden = None
        for i, activation in enumerate(cfg.mlp_activations):
            name = f"wi_{i}" if gated else "wi"
            branch = _ACTIVATIONS[activation](Dense(cfg.mlp_dim, dtype, name=name)(x))
            hidden = branch if hidden is None else hidden * branch
        hidden = dropout(cfg, self.deterministic)(hidden)
        return Dense(cfg.emb_dim, dtype, name="wo")(hidden)


def dropout(config: T5Config, deterministic: bool) -> nn.Dropout:
    """Dropout of [B, T, D] with one mask for all positions of an example, as in T5X."""
    return nn.Dropout(config.dropout_rate, broadcast_dims=(-2,), deterministic=deterministic)
