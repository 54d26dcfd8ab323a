"""T5 v1.0, v1.1 and umT5 as Flax modules, with T5X's parameter names and a place for prompts.

The encoder's sequence is the prompt (positions 0..P-1) followed by the text (positions
P..P+T-1): relative position buckets are taken of these positions, so a prompt vector sits at a
fixed place before the first word and prompt vectors are ordered among themselves. Every text
position and the decoder see the whole prompt; nothing sees padding.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mpt_jax.backbone import layers, layout
from mpt_jax.backbone.config import T5Config

PAD_ID = 0


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each after a layer norm and inside a residual."""

    config: T5Config
    deterministic: bool

    @nn.compact
    def __call__(self, x: jax.Array, bias: jax.Array, valid: jax.Array) -> tuple[jax.Array, None]:
        """x [B, P+T, D], bias of `_bias`, valid [B, P+T] -> [B, P+T, D], and None for a scan."""
        cfg, deterministic = self.config, self.deterministic
        bias = _own_bias(cfg, bias)
        y = _norm(cfg, "pre_attention_layer_norm")(x)
        y = layers.Attention(cfg, deterministic, name="attention")(y, y, bias=bias, valid=valid)
        x = x + layers.dropout(cfg, deterministic)(y)
        y = layers.Mlp(cfg, deterministic, name="mlp")(_norm(cfg, "pre_mlp_layer_norm")(x))
        x = x + layers.dropout(cfg, deterministic)(y)
        x = layout.states(x)
        self.sow("hidden_states", "output", x)
        return x, None


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the encoder, and feed-forward."""

    config: T5Config
    deterministic: bool
    cache_length: int | None = None

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        encoded: jax.Array,
        bias: jax.Array,
        valid: jax.Array,
        position: jax.Array | None = None,
    ) -> tuple[jax.Array, None]:
        """x [B, S, D], encoded [B, P+T, D], bias of `_bias`, valid [B, P+T] -> [B, S, D], and None.

        With `cache_length` L the keys of earlier tokens come from the cache: bias is
        [H, S, L], and x stands at `position` (see `layers.Attention.step_self`).
        """
        cfg, deterministic = self.config, self.deterministic
        bias = _own_bias(cfg, bias)
        to_itself = layers.Attention(cfg, deterministic, name="self_attention")
        y = _norm(cfg, "pre_self_attention_layer_norm")(x)
        if self.cache_length is None:
            y = to_itself(y, y, bias=bias)
        else:
            y = to_itself.step_self(y, position=position, length=self.cache_length, bias=bias)
        x = x + layers.dropout(cfg, deterministic)(y)

        to_encoder = layers.Attention(cfg, deterministic, name="encoder_decoder_attention")
        y = _norm(cfg, "pre_cross_attention_layer_norm")(x)
        attend = to_encoder if self.cache_length is None else to_encoder.step_cross
        # Rows of one example are laid side by side as queries: nothing of the encoder is repeated.
        queries = y.reshape(encoded.shape[0], -1, y.shape[-1])
        y = attend(queries, encoded, valid=valid).reshape(y.shape)
        x = x + layers.dropout(cfg, deterministic)(y)

        y = layers.Mlp(cfg, deterministic, name="mlp")(_norm(cfg, "pre_mlp_layer_norm")(x))
        x = x + layers.dropout(cfg, deterministic)(y)
        x = layout.states(x)
        self.sow("hidden_states", "output", x)
        return x, None


class Encoder(nn.Module):
    """The stack of encoder layers over an embedded sequence."""

    config: T5Config

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, deterministic: bool) -> jax.Array:
        """x [B, P+T, D], valid [B, P+T] bool -> [B, P+T, D]."""
        cfg = self.config
        positions = jnp.arange(x.shape[1])
        bias = _bias(cfg, layers.position_buckets(cfg, positions, positions, causal=False))
        x = layers.dropout(cfg, deterministic)(x)
        settings = {"config": cfg, "deterministic": deterministic}
        x = _apply_layers(EncoderLayer, cfg.num_encoder_layers, settings, x, bias, valid)
        x = _norm(cfg, "encoder_norm")(x)
        self.sow("hidden_states", "final", x)
        return layers.dropout(cfg, deterministic)(x)


class Decoder(nn.Module):
    """The stack of decoder layers, its position counter while decoding, and v1.1's logits."""

    config: T5Config

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        encoded: jax.Array,
        valid: jax.Array,
        deterministic: bool,
        cache_length: int | None = None,
    ) -> jax.Array:
        """x [B, S, D], encoded [B, P+T, D], valid [B, P+T] -> final states [B, S, D]."""
        cfg = self.config
        start, position = self._advance(x.shape[1], cache_length)
        query_positions = start + jnp.arange(x.shape[1])
        key_positions = jnp.arange(cache_length or x.shape[1])
        buckets = layers.position_buckets(cfg, query_positions, key_positions, causal=True)
        bias = _bias(cfg, buckets)

        x = layers.dropout(cfg, deterministic)(x)
        settings = {"config": cfg, "deterministic": deterministic, "cache_length": cache_length}
        inputs = (x, encoded, bias, valid, position)
        x = _apply_layers(DecoderLayer, cfg.num_decoder_layers, settings, *inputs)
        x = _norm(cfg, "decoder_norm")(x)
        self.sow("hidden_states", "final", x)
        x = layers.dropout(cfg, deterministic)(x)
        if not cfg.logits_via_embedding:
            x = layers.Dense(cfg.vocab_size, jnp.dtype("float32"), name="logits_dense")(x)
        return x

    def _advance(
        self, count: int, cache_length: int | None
    ) -> tuple[jax.Array | int, jax.Array | None]:
        """Moves the cache's counter by `count`: (first position, position to write at).

        The call that creates the cache writes nothing and does not move the counter.
        """
        if cache_length is None:
            return 0, None
        exists = self.has_variable("cache", "cache_index")
        index = self.variable("cache", "cache_index", jnp.zeros, (), jnp.int32)
        start = index.value
        if not exists:
            return start, None
        index.value = start + count
        return start, start


class Transformer(nn.Module):
    """The encoder-decoder; parameters float32 under T5X's names."""

    config: T5Config

    def setup(self) -> None:
        """Declares the stacks and the embedding that they share."""
        cfg = self.config
        self.token_embedder = layers.Embed(cfg.vocab_size, cfg.emb_dim, jnp.dtype(cfg.dtype))
        self.encoder = Encoder(cfg)
        self.decoder = Decoder(cfg)

    def embed(self, tokens: jax.Array) -> jax.Array:
        """[B, T] int32 -> [B, T, D] in the computation's dtype."""
        return self.token_embedder(tokens)

    def encode(
        self,
        encoder_input_tokens: jax.Array,
        prompts: jax.Array | None = None,
        embedded: jax.Array | None = None,
        *,
        enable_dropout: bool = False,
    ) -> jax.Array:
        """Encodes prompt and text.

        Args:
            encoder_input_tokens: [B, T] int32; id 0 is padding.
            prompts: [B, P, D], prepended to the embedded tokens; None for none (P = 0).
            embedded: [B, T, D], what the tokens are embedded as; None: by `embed`.
            enable_dropout: needs the rng "dropout".

        Returns:
            [B, P+T, D] in the computation's dtype.
        """
        x = self.embed(encoder_input_tokens) if embedded is None else embedded
        if prompts is not None:
            x = jnp.concatenate([prompts.astype(x.dtype), x], axis=1)
        valid = encoder_valid(encoder_input_tokens, prompts)
        return self.encoder(x, valid, not enable_dropout)

    def decode(
        self,
        encoded: jax.Array,
        encoder_valid: jax.Array,
        decoder_input_tokens: jax.Array,
        *,
        enable_dropout: bool = False,
        decode: bool = False,
        max_decode_length: int | None = None,
    ) -> jax.Array:
        """Gives the logits after each decoder input token.

        With `decode`, tokens are fed piece by piece (mutable=["cache"]): the first call creates
        the cache (encoder keys and values, empty room for `max_decode_length` tokens) and takes
        only the shape of its tokens; each further call continues where the last one stopped.

        Args:
            encoded: [B, P+T, D].
            encoder_valid: [B, P+T] bool, False at padding.
            decoder_input_tokens: [B, S] int32, the targets shifted right; or [B * N, S], N rows
                (beams, labels) for each row of `encoded`.

        Returns:
            [B, S, V] float32.
        """
        assert not decode or max_decode_length, "decode=True needs max_decode_length"
        x = self.decoder(
            self.token_embedder(decoder_input_tokens),
            encoded,
            encoder_valid,
            not enable_dropout,
            max_decode_length if decode else None,
        )
        return self.token_embedder.logits(x) if self.config.logits_via_embedding else x

    def __call__(
        self,
        encoder_input_tokens: jax.Array,
        decoder_input_tokens: jax.Array,
        prompts: jax.Array | None = None,
        embedded: jax.Array | None = None,
        *,
        enable_dropout: bool = False,
    ) -> jax.Array:
        """[B, T], [B, S] int32, and what `encode` takes besides -> logits [B, S, V] float32."""
        encoded = self.encode(
            encoder_input_tokens, prompts, embedded, enable_dropout=enable_dropout
        )
        valid = encoder_valid(encoder_input_tokens, prompts)
        return self.decode(encoded, valid, decoder_input_tokens, enable_dropout=enable_dropout)


def encoder_valid(encoder_input_tokens: jax.Array, prompts: jax.Array | None = None) -> jax.Array:
    """Which encoder positions may be seen: all P of the prompt, then tokens that are not padding.

    Args:
        encoder_input_tokens: [B, T] int32.
        prompts: [B, P, D], or None (P = 0).

    Returns:
        [B, P+T] bool.
    """
    valid = encoder_input_tokens != PAD_ID
    if prompts is None:
        return valid
    return jnp.concatenate([jnp.ones(prompts.shape[:2], bool), valid], axis=1)


def _bias(config: T5Config, buckets: jax.Array) -> jax.Array:
    """What a stack hands to its layers: its bias [H, Q, K], or the buckets [Q, K] for theirs."""
    if config.relpos_bias_per_layer:
        return buckets
    return layers.RelativePositionBias(config, name="relpos_bias")(buckets)


def _own_bias(config: T5Config, given: jax.Array) -> jax.Array:
    """In a layer, the bias [H, Q, K] from what `_bias` gave."""
    if not config.relpos_bias_per_layer:
        return given
    return layers.RelativePositionBias(config, name="relpos_bias")(given)


def _apply_layers(
    layer: type[nn.Module], count: int, settings: dict[str, Any], x: jax.Array, *inputs: Any
) -> jax.Array:
    """Runs `count` layers in a row: `layers_0`, `layers_1`, ... or, scanned, all in `layers`.

    A scan compiles one layer whatever the depth; its parameters, cache entries and hidden states
    have a leading axis of `count`.
    """
    cfg = settings["config"]
    if cfg.remat and settings.get("cache_length") is None:
        layer = nn.remat(layer, prevent_cse=not cfg.scan_layers)
    if cfg.scan_layers:
        stack = nn.scan(
            layer,
            variable_axes={"params": 0, "cache": 0, "hidden_states": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=nn.broadcast,
            length=count,
        )
        return stack(**settings, name="layers")(x, *inputs)[0]
    for i in range(count):
        x, _ = layer(**settings, name=f"layers_{i}")(x, *inputs)
    return x


def _norm(config: T5Config, name: str) -> layers.LayerNorm:
    return layers.LayerNorm(config.layer_norm_epsilon, jnp.dtype(config.dtype), name=name)
