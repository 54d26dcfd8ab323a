"""Text from logits: greedy and beam search, and sampling, over the decoder's cache.

All of them run as one `lax.while_loop` under jit and stop as soon as every example has ended.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

from mpt_jax.backbone import layers
from mpt_jax.backbone.network import PAD_ID
from mpt_jax.errors import UserError

Cache = Mapping[str, Any]
# tokens [rows, 1] int32 and the cache -> logits [rows, V] and the moved cache.
Step = Callable[[jax.Array, Cache], tuple[jax.Array, Cache]]


def generate(
    module: nn.Module,
    params: Mapping[str, Any],
    encoded: jax.Array,
    encoder_valid: jax.Array,
    *,
    wanted: jax.Array | None = None,
    max_decode_length: int,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    rng: jax.Array | None = None,
    eos_id: int = 1,
) -> tuple[jax.Array, jax.Array]:
    """Generates one sequence per example.

    One beam and temperature 0 is greedy search, a temperature above 0 samples, several beams
    search (see `_beam_search` for its exact rules). Everything but the arrays is static.

    Args:
        module: has `network.Transformer`'s method `decode`.
        params: its parameters.
        encoded: [B, P+T, D].
        encoder_valid: [B, P+T] bool.
        wanted: [B] bool, the examples that are to be answered; the others, which only fill the
            batch, get padding and a score of 0, and nobody waits for them. None: all.
        max_decode_length: S, the longest sequence, end token included.
        num_beams: N hypotheses per example.
        length_penalty: a beam's score is its log-probability / length ** length_penalty, the end
            token counted, as in Hugging Face's search, whose default is 1 too. T5X divides by
            ((5 + length) / 6) ** alpha, with 0.6 by default: the two numbers are not comparable.
        temperature: divides the logits before sampling; 0 takes the most probable token.
        top_k: samples among the k most probable tokens; 0 among all.
        top_p: samples among the fewest tokens whose probabilities reach top_p.
        rng: key, needed to sample.
        eos_id: ends a sequence. Id 0, padding, fills it after that, and is fed first.

    Returns:
        sequences [B, S] int32, each with its end token if it reached one, then padding, and
        scores [B] float32: the log-probability under the model of the sequence (end included),
        divided by length ** length_penalty for beams.

    Raises:
        UserError: settings out of range or that exclude each other.
    """
    _check(max_decode_length, num_beams, temperature, top_k, top_p, rng)
    step = _stepper(module, params, encoded, encoder_valid, max_decode_length)
    batch = encoded.shape[0]
    if wanted is None:
        wanted = jnp.ones((batch,), bool)
    rows = batch * num_beams
    cache = _empty_cache(module, params, encoded, encoder_valid, max_decode_length, rows)
    if num_beams > 1:
        return _beam_search(
            step, cache, wanted, num_beams, max_decode_length, length_penalty, eos_id
        )
    if temperature == 0.0:
        pick = _pick_best
    else:
        key = rng

        def pick(logits: jax.Array, t: jax.Array) -> jax.Array:
            allowed = filter_logits(logits / temperature, top_k=top_k, top_p=top_p)
            return jax.random.categorical(jax.random.fold_in(key, t), allowed).astype(jnp.int32)

    return _one_by_one(step, cache, wanted, max_decode_length, pick, eos_id)


# What `generate` leaves to its user, by name.
OPTIONS = tuple(name for name in generate.__kwdefaults__ if name not in ("wanted", "rng", "eos_id"))


def filter_logits(logits: jax.Array, *, top_k: int = 0, top_p: float = 1.0) -> jax.Array:
    """Sets the logits of excluded tokens to -inf: first by top_k, then by top_p of the rest.

    The most probable token always stays, and so do ties with the last one that stays.

    Args:
        logits: [B, V] float32.
        top_k: number of tokens that stay; 0 for all.
        top_p: the fewest tokens stay whose probabilities add up to at least top_p.

    Returns:
        [B, V] float32.
    """
    if 0 < top_k < logits.shape[-1]:
        least = jax.lax.top_k(logits, top_k)[0][:, -1:]
        logits = jnp.where(logits >= least, logits, -jnp.inf)
    if top_p < 1.0:
        ordered = jnp.flip(jnp.sort(logits, axis=-1), axis=-1)
        probabilities = nn.softmax(ordered)
        before = jnp.cumsum(probabilities, axis=-1) - probabilities
        least = jnp.min(jnp.where(before < top_p, ordered, jnp.inf), axis=-1, keepdims=True)
        logits = jnp.where(logits >= least, logits, -jnp.inf)
    return logits


# ---------------------------------------------------------------- the decoder, step by step


def _empty_cache(
    module: nn.Module,
    params: Mapping[str, Any],
    encoded: jax.Array,
    encoder_valid: jax.Array,
    length: int,
    rows: int,
) -> Cache:
    """The encoder's keys and values, and room for `rows` sequences of `length` tokens."""
    _, created = module.apply(
        {"params": params},
        encoded,
        encoder_valid,
        jnp.zeros((rows, 1), jnp.int32),
        decode=True,
        max_decode_length=length,
        mutable=["cache"],
        method="decode",
    )
    return created["cache"]


def _stepper(
    module: nn.Module,
    params: Mapping[str, Any],
    encoded: jax.Array,
    encoder_valid: jax.Array,
    length: int,
) -> Step:
    def step(tokens: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
        logits, moved = module.apply(
            {"params": params, "cache": cache},
            encoded,
            encoder_valid,
            tokens,
            decode=True,
            max_decode_length=length,
            mutable=["cache"],
            method="decode",
        )
        return logits[:, 0], moved["cache"]

    return step


# ---------------------------------------------------------------- greedy search and sampling


class _Walk(NamedTuple):
    """State of token-by-token generation after t tokens."""

    t: jax.Array  # int32
    tokens: jax.Array  # [B, 1], fed next
    sequences: jax.Array  # [B, S]
    scores: jax.Array  # [B]
    ended: jax.Array  # [B] bool
    cache: Cache


def _pick_best(logits: jax.Array, t: jax.Array) -> jax.Array:
    del t
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def _one_by_one(
    step: Step,
    cache: Cache,
    wanted: jax.Array,
    length: int,
    pick: Callable[[jax.Array, jax.Array], jax.Array],
    eos_id: int,
) -> tuple[jax.Array, jax.Array]:
    """Extends each wanted sequence by `pick(logits [B, V], t) -> [B]` until it ends."""
    rows = wanted.shape[0]

    def body(walk: _Walk) -> _Walk:
        logits, cache = step(walk.tokens, walk.cache)
        picked = jnp.where(walk.ended, PAD_ID, pick(logits, walk.t))
        gained = jnp.take_along_axis(nn.log_softmax(logits), picked[:, None], axis=-1)[:, 0]
        return _Walk(
            t=walk.t + 1,
            tokens=picked[:, None],
            sequences=walk.sequences.at[:, walk.t].set(picked),
            scores=walk.scores + jnp.where(walk.ended, 0.0, gained),
            ended=walk.ended | (picked == eos_id),
            cache=cache,
        )

    walk = _Walk(
        t=jnp.zeros((), jnp.int32),
        tokens=jnp.full((rows, 1), PAD_ID, jnp.int32),
        sequences=jnp.full((rows, length), PAD_ID, jnp.int32),
        scores=jnp.zeros((rows,), jnp.float32),
        ended=~wanted,
        cache=cache,
    )
    walk = jax.lax.while_loop(lambda w: (w.t < length) & ~jnp.all(w.ended), body, walk)
    return walk.sequences, walk.scores


# ---------------------------------------------------------------- beam search


class _Beams(NamedTuple):
    """State of beam search after t tokens; both kinds of hypotheses are ordered, best first."""

    t: jax.Array  # int32
    alive: jax.Array  # [B, N, S], still growing
    alive_scores: jax.Array  # [B, N], log-probability
    done: jax.Array  # [B, N, S], ended
    done_scores: jax.Array  # [B, N], penalised; -inf where there is none yet
    open: jax.Array  # [B] bool, may still improve
    cache: Cache


def _beam_search(
    step: Step,
    cache: Cache,
    wanted: jax.Array,
    num_beams: int,
    length: int,
    penalty: float,
    eos_id: int,
) -> tuple[jax.Array, jax.Array]:
    """Beam search by Hugging Face's rules with `early_stopping=False`.

    At each step the 2N best extensions of an example's hypotheses are taken. Among the best N
    of them those that end (end token, or full length) compete for the N places of finished
    hypotheses by log-probability / length ** penalty; the N best that do not end live on. An
    example is closed when it has N finished hypotheses and its best living one, penalised at
    its present length, is not better than the worst of them.

    Returns:
        the best finished hypothesis [B, S] and its penalised score [B].
    """
    batch = wanted.shape[0]

    def body(beams: _Beams) -> _Beams:
        last = jnp.take(beams.alive, jnp.maximum(beams.t - 1, 0), axis=2)
        tokens = jnp.where(beams.t == 0, PAD_ID, last).reshape(-1, 1)
        logits, cache = step(tokens, beams.cache)
        parents, tokens, scores = _extend(logits, beams.alive_scores)
        grown = _take(beams.alive, parents).at[:, :, beams.t].set(tokens)
        ends = (tokens == eos_id) | (beams.t == length - 1)
        norm = (beams.t + 1).astype(jnp.float32) ** penalty

        finishes = ends & (jnp.arange(2 * num_beams) < num_beams) & beams.open[:, None]
        done, done_scores = _best(
            jnp.concatenate([beams.done, grown], axis=1),
            jnp.concatenate(
                [beams.done_scores, jnp.where(finishes, scores / norm, -jnp.inf)], axis=1
            ),
            num_beams,
        )
        alive_scores, survivors = jax.lax.top_k(jnp.where(ends, -jnp.inf, scores), num_beams)
        return _Beams(
            t=beams.t + 1,
            alive=_take(grown, survivors),
            alive_scores=alive_scores,
            done=done,
            done_scores=done_scores,
            open=beams.open & (alive_scores[:, 0] / norm > done_scores[:, -1]),
            cache=_reorder(cache, _take(parents, survivors)),
        )

    # All hypotheses of an example start alike: only the first may be extended.
    first = jnp.where(jnp.arange(num_beams) == 0, 0.0, -jnp.inf)
    empty = jnp.full((batch, num_beams, length), PAD_ID, jnp.int32)
    beams = _Beams(
        t=jnp.zeros((), jnp.int32),
        alive=empty,
        alive_scores=jnp.broadcast_to(first, (batch, num_beams)),
        done=empty,
        done_scores=jnp.full((batch, num_beams), -jnp.inf),
        open=wanted,
        cache=cache,
    )
    beams = jax.lax.while_loop(lambda b: (b.t < length) & jnp.any(b.open), body, beams)
    return beams.done[:, 0], jnp.where(wanted, beams.done_scores[:, 0], 0.0)


def _extend(logits: jax.Array, alive_scores: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The 2N best extensions of N hypotheses: parent, token and score, each [B, 2N].

    2N, because at most N of them end, so that N can live on. They are among the 2N best of each
    hypothesis, so the whole vocabulary is looked at by one hypothesis at a time.

    Args:
        logits: [B * N, V].
        alive_scores: [B, N].
    """
    batch, num_beams = alive_scores.shape
    count = min(2 * num_beams, logits.shape[-1])
    log_probs, tokens = jax.lax.top_k(nn.log_softmax(logits), count)
    totals = alive_scores[:, :, None] + log_probs.reshape(batch, num_beams, count)
    scores, index = jax.lax.top_k(totals.reshape(batch, num_beams * count), 2 * num_beams)
    tokens = jnp.take_along_axis(tokens.reshape(batch, num_beams * count), index, axis=1)
    return index // count, tokens.astype(jnp.int32), scores


def _best(sequences: jax.Array, scores: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The `count` best of sequences [B, M, S] by scores [B, M], best first."""
    scores, index = jax.lax.top_k(scores, count)
    return _take(sequences, index), scores


def _take(x: jax.Array, index: jax.Array) -> jax.Array:
    """x [B, M, ...] and index [B, N] -> [B, N, ...]."""
    index = index.reshape(*index.shape, *(1,) * (x.ndim - 2))
    return jnp.take_along_axis(x, index, axis=1)


def _reorder(cache: Cache, parents: jax.Array) -> Cache:
    """Gives each hypothesis its parent's keys and values; the encoder's are shared.

    Args:
        cache: leaves [B * N, H, L, d], or with a scan's axis in front.
        parents: [B, N], each one of the example's own, so that nothing leaves its device.
    """
    batch, num_beams = parents.shape

    def move(path: tuple[str, ...], x: jax.Array) -> jax.Array:
        if path[-1] not in layers.CACHE_PER_HYPOTHESIS:
            return x
        grouped = x.reshape(-1, batch, num_beams, *x.shape[-3:])
        return jax.vmap(_take, in_axes=(0, None))(grouped, parents).reshape(x.shape)

    return flax.traverse_util.path_aware_map(move, cache)


def _check(
    max_decode_length: int,
    num_beams: int,
    temperature: float,
    top_k: int,
    top_p: float,
    rng: jax.Array | None,
) -> None:
    if max_decode_length < 1:
        raise UserError(f"max_decode_length must be at least 1, got {max_decode_length}.")
    if num_beams < 1:
        raise UserError(f"num_beams must be at least 1, got {num_beams}.")
    if temperature < 0.0:
        raise UserError(f"temperature must not be negative, got {temperature}.")
    if top_k < 0:
        raise UserError(f"top_k must not be negative (0 means no limit), got {top_k}.")
    if not 0.0 < top_p <= 1.0:
        raise UserError(f"top_p must be in (0, 1], got {top_p}.")
    if temperature == 0.0 and (top_k or top_p < 1.0):
        raise UserError("top_k and top_p shape sampling: set a temperature above 0 with them.")
    if temperature > 0.0 and num_beams > 1:
        raise UserError("Sampling and beam search exclude each other: temperature 0 or one beam.")
    if temperature > 0.0 and rng is None:
        raise UserError("Sampling (temperature above 0) needs a random key: pass rng.")
