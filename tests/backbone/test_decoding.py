import itertools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import t5_golden

from mpt_jax.backbone import decoding, network
from mpt_jax.errors import UserError

versions = pytest.mark.parametrize("version", t5_golden.VERSIONS)
kinds = pytest.mark.parametrize("kind", ["plain", "prompted"])


def generate(
    golden, kind="plain", rows=slice(None), length=t5_golden.MAX_DECODE_LENGTH, **settings
):
    tokens, prompts = golden.arrays["encoder_input_tokens"][rows], golden.prompts(kind)
    prompts = None if prompts is None else prompts[rows]
    encoded = golden.encode(tokens, prompts)

    @jax.jit
    def run(params, encoded, valid):
        return decoding.generate(
            golden.module, params, encoded, valid, max_decode_length=length, **settings
        )

    return run(golden.params, encoded, network.encoder_valid(tokens, prompts))


def score_of(golden, sequences, kind="plain"):
    """Log-probability of each sequence [B, S], from one teacher-forced pass."""
    shifted = np.pad(sequences, ((0, 0), (1, 0)))[:, :-1]
    logits = golden.logits(golden.arrays["encoder_input_tokens"], shifted, golden.prompts(kind))
    picked = np.take_along_axis(nn.log_softmax(logits), sequences[..., None], axis=-1)[..., 0]
    return np.sum(picked * (lengths_of(sequences)[:, None] > np.arange(picked.shape[1])), axis=1)


def lengths_of(sequences):
    ended = (sequences == 1).any(axis=1)
    return np.where(ended, (sequences == 1).argmax(axis=1) + 1, sequences.shape[1])


@versions
@kinds
def test_greedy_search_finds_what_hugging_face_finds(version, kind):
    golden = t5_golden.load(version)
    sequences, scores = generate(golden, kind)
    np.testing.assert_array_equal(sequences, golden.arrays[f"{kind}/greedy"])
    assert sequences.dtype == jnp.int32
    np.testing.assert_allclose(scores, score_of(golden, np.array(sequences), kind), atol=1e-3)


@versions
@kinds
@pytest.mark.parametrize("penalty", t5_golden.LENGTH_PENALTIES)
def test_beam_search_finds_what_hugging_face_finds(version, kind, penalty):
    golden = t5_golden.load(version)
    sequences, scores = generate(
        golden, kind, num_beams=t5_golden.NUM_BEAMS, length_penalty=penalty
    )
    np.testing.assert_array_equal(sequences, golden.arrays[f"{kind}/beam_{penalty}"])
    np.testing.assert_allclose(scores, golden.arrays[f"{kind}/beam_{penalty}_scores"], atol=1e-4)
    lengths = lengths_of(np.array(sequences))
    expected = score_of(golden, np.array(sequences), kind) / lengths**penalty
    np.testing.assert_allclose(scores, expected, atol=1e-3)


def test_the_default_penalty_is_that_of_hugging_face():
    golden = t5_golden.load("v1_1")
    _, scores = generate(golden, num_beams=t5_golden.NUM_BEAMS)
    np.testing.assert_allclose(scores, golden.arrays["plain/beam_1.0_scores"], atol=1e-4)


@pytest.mark.parametrize("num_beams, expected", [(1, "greedy"), (t5_golden.NUM_BEAMS, "beam_0.6")])
def test_scanned_layers_find_what_hugging_face_finds(num_beams, expected):
    golden = t5_golden.load("v1_1").scanned()
    sequences, _ = generate(golden, "prompted", num_beams=num_beams, length_penalty=0.6)
    np.testing.assert_array_equal(sequences, golden.arrays[f"prompted/{expected}"])


def test_a_beam_as_wide_as_the_vocabulary_finds_the_best_of_all_sequences():
    """With two tokens to generate, 60 beams leave out no prefix."""
    golden = t5_golden.load("v1_1")
    row, length = slice(0, 1), 2
    sequences, scores = generate(golden, rows=row, length=length, num_beams=60, length_penalty=0.0)
    texts = np.array(list(itertools.product(range(60), repeat=length)), np.int32)
    texts[texts[:, 0] == 1, 1] = 0
    inputs = np.repeat(golden.arrays["encoder_input_tokens"][row], len(texts), axis=0)
    shifted = np.pad(texts, ((0, 0), (1, 0)))[:, :-1]
    logits = golden.logits(inputs, shifted)
    gains = np.take_along_axis(np.array(nn.log_softmax(logits)), texts[..., None], axis=-1)[..., 0]
    gains[texts[:, 0] == 1, 1] = 0.0
    best = gains.sum(axis=1).argmax()
    np.testing.assert_array_equal(sequences[0], texts[best])
    np.testing.assert_allclose(scores[0], gains.sum(axis=1)[best], atol=1e-4)


def test_a_row_is_decoded_as_if_it_were_alone():
    golden = t5_golden.load("v1_0")
    for settings in ({}, {"num_beams": 3}):
        together, _ = generate(golden, **settings)
        alone, _ = generate(golden, rows=slice(2, 3), **settings)
        np.testing.assert_array_equal(alone[0], together[2])


def test_sampling_repeats_with_its_key_and_differs_with_another():
    golden = t5_golden.load("v1_1")
    first, again, other = (
        generate(golden, temperature=1.0, rng=jax.random.key(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0] != other[0]).any()
    np.testing.assert_allclose(first[1], score_of(golden, np.array(first[0])), atol=1e-3)


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}])
def test_the_narrowest_sampling_is_greedy(narrow):
    golden = t5_golden.load("v1_0")
    settings = {"temperature": 1.0, "rng": jax.random.key(0)} | narrow
    sequences, _ = generate(golden, **settings)
    np.testing.assert_array_equal(sequences, golden.arrays["plain/greedy"])


def test_samples_follow_the_softmax_of_the_tempered_logits():
    logits = jnp.broadcast_to(jnp.array([0.0, 1.0, 2.0, -1.0]), (20000, 4)) / 2.0
    drawn = jax.random.categorical(jax.random.key(0), decoding.filter_logits(logits, top_k=3))
    frequencies = np.bincount(drawn, minlength=4) / len(drawn)
    weights = np.exp([0.0, 0.5, 1.0])
    np.testing.assert_allclose(frequencies, [*weights / weights.sum(), 0.0], atol=0.02)


def plain_filter(logits, top_k, top_p):
    """The kept token ids of one row, by a plain loop."""
    order = sorted(range(len(logits)), key=lambda i: -logits[i])[: top_k or None]
    weights = np.exp(np.array([logits[i] for i in order]))
    kept, total = [], 0.0
    for i, weight in zip(order, weights / weights.sum(), strict=True):
        if total < top_p:
            kept.append(i)
        total += weight
    return set(kept)


@pytest.mark.parametrize("top_k", [0, 1, 5, 60, 100])
@pytest.mark.parametrize("top_p", [1e-3, 0.5, 0.9, 1.0])
def test_filter_keeps_what_a_plain_loop_keeps(top_k, top_p):
    logits = np.random.default_rng(top_k).normal(size=(8, 60)).astype(np.float32) * 2
    filtered = np.array(decoding.filter_logits(jnp.array(logits), top_k=top_k, top_p=top_p))
    for row, kept in zip(logits, np.isfinite(filtered), strict=True):
        assert set(np.flatnonzero(kept)) == plain_filter(row, top_k, top_p)
    np.testing.assert_array_equal(filtered[np.isfinite(filtered)], logits[np.isfinite(filtered)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 0}, "max_decode_length must be at least 1"),
        ({"num_beams": 0}, "num_beams must be at least 1"),
        ({"temperature": -1.0}, "temperature must not be negative"),
        ({"top_k": -1}, "top_k must not be negative"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\]"),
        ({"top_p": 0.5}, "set a temperature above 0"),
        ({"temperature": 1.0, "num_beams": 2}, "exclude each other"),
        ({"temperature": 1.0}, "needs a random key"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        generate(t5_golden.load("v1_0"), **settings)


@pytest.mark.parametrize("num_beams", [1, 2])
def test_rows_that_only_fill_the_batch_are_not_waited_for(num_beams, monkeypatch):
    golden, steps, stepper = t5_golden.load("v1_1"), [], decoding._stepper

    def counted(*arguments):
        step = stepper(*arguments)

        def run(tokens, cache):
            jax.debug.callback(lambda: steps.append(1))
            return step(tokens, cache)

        return run

    monkeypatch.setattr(decoding, "_stepper", counted)
    whole, scores = generate(golden, num_beams=num_beams)
    taken = len(steps)
    wanted = np.arange(len(whole)) == np.argmin(lengths_of(np.array(whole)))
    assert lengths_of(np.array(whole))[wanted] < lengths_of(np.array(whole)).max()
    found, found_scores = generate(golden, num_beams=num_beams, wanted=jnp.asarray(wanted))
    jax.effects_barrier()
    np.testing.assert_array_equal(found, np.where(wanted[:, None], whole, 0))
    np.testing.assert_allclose(found_scores, np.where(wanted, scores, 0.0), rtol=1e-6)
    assert len(steps) - taken < taken


def test_beams_stay_on_the_device_of_their_example():
    golden = t5_golden.load("v1_1")
    tokens = jnp.tile(golden.arrays["encoder_input_tokens"][:1], (4, 1))
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:4]), ("data",))
    by_example = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))

    def run(params, encoded, valid):
        return decoding.generate(
            golden.module, params, encoded, valid, max_decode_length=4, num_beams=2
        )

    inputs = jax.device_put((golden.encode(tokens, None), tokens != 0), by_example)
    compiled = jax.jit(run, out_shardings=by_example).lower(golden.params, *inputs).compile()
    gathered = re.findall(r' all-gather\(.*op_name="[^"]*/(\w+)"', compiled.as_text())
    # A CPU's top_k is one call for all devices; on a TPU it is split too.
    assert set(gathered) <= {"top_k"}
