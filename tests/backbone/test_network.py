import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import t5_golden

from mpt_jax.backbone import network

versions = pytest.mark.parametrize("version", t5_golden.VERSIONS)
kinds = pytest.mark.parametrize("kind", ["plain", "prompted"])


def logits_of(golden, kind, params=None, config=None, **changes):
    arrays = golden.arrays | changes
    return t5_golden.compiled(config or golden.module.config)(
        {"params": params or golden.params},
        arrays["encoder_input_tokens"],
        arrays["decoder_input_tokens"],
        golden.prompts(kind),
    )


@versions
@kinds
def test_logits_are_those_of_hugging_face(version, kind):
    golden = t5_golden.load(version)
    logits = logits_of(golden, kind)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, golden.arrays[f"{kind}/logits"], atol=1e-4, rtol=0)


@versions
def test_initialised_parameters_have_the_names_and_shapes_of_t5x(version):
    golden = t5_golden.load(version)
    shapes = jax.eval_shape(
        lambda: golden.module.init(
            jax.random.key(0), jnp.ones((1, 2), jnp.int32), jnp.ones((1, 2), jnp.int32)
        )
    )["params"]
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, golden.params)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}


@versions
def test_more_padding_changes_nothing(version):
    golden = t5_golden.load(version)
    longer = np.pad(golden.arrays["encoder_input_tokens"], ((0, 0), (0, 5)))
    np.testing.assert_allclose(
        logits_of(golden, "prompted", encoder_input_tokens=longer),
        logits_of(golden, "prompted"),
        atol=1e-4,
    )


def test_nothing_sees_padding():
    """A token that only pads may mean anything: its embedding is changed, the outputs are not."""
    golden = t5_golden.load("v1_1")
    embedding = golden.params["token_embedder"]["embedding"]
    changed = dict(golden.params, token_embedder={"embedding": embedding.copy()})
    changed["token_embedder"]["embedding"][network.PAD_ID] += 100.0
    decoder_inputs = np.maximum(golden.arrays["decoder_input_tokens"], 2)  # the start token is 0
    before = logits_of(golden, "prompted", decoder_input_tokens=decoder_inputs)
    after = logits_of(golden, "prompted", changed, decoder_input_tokens=decoder_inputs)
    np.testing.assert_allclose(before, after, atol=1e-4)


def test_the_prompt_is_seen_by_the_text_and_by_the_decoder():
    golden = t5_golden.load("v1_0")
    tokens, prompts = golden.arrays["encoder_input_tokens"], golden.arrays["prompts"]
    changed = np.concatenate([prompts[:, :-1], -prompts[:, -1:]], axis=1)
    moved = np.abs(golden.encode(tokens, changed) - golden.encode(tokens, prompts)).max(axis=-1)
    assert (moved[:, prompts.shape[1]] > 1e-3).all()  # the first word
    assert network.encoder_valid(tokens, prompts)[:, : prompts.shape[1]].all()
    assert (np.abs(logits_of(golden, "prompted") - logits_of(golden, "plain")) > 1e-3).any()


def test_an_all_padding_row_is_finite():
    golden = t5_golden.load("v1_0")
    tokens = np.zeros_like(golden.arrays["encoder_input_tokens"])
    assert np.isfinite(logits_of(golden, "plain", encoder_input_tokens=tokens)).all()


def test_a_decoder_position_sees_no_later_token():
    golden = t5_golden.load("v1_0")
    tokens = golden.arrays["decoder_input_tokens"]
    later = tokens.copy()  # jax may still be reading the other one
    later[:, 4:] = 7
    before = logits_of(golden, "plain", decoder_input_tokens=tokens)
    after = logits_of(golden, "plain", decoder_input_tokens=later)
    np.testing.assert_allclose(before[:, :4], after[:, :4], atol=1e-5)
    assert np.abs(before[:, 4:] - after[:, 4:]).max() > 1e-3


@versions
def test_cached_steps_give_the_logits_of_one_pass(version):
    golden = t5_golden.load(version)
    tokens, targets = (golden.arrays[f"{x}_input_tokens"] for x in ("encoder", "decoder"))
    prompts = golden.prompts("prompted")
    variables = {"params": golden.params}
    encoded = golden.encode(tokens, prompts)
    valid = network.encoder_valid(tokens, prompts)

    @jax.jit
    def feed(variables, piece):
        return golden.module.apply(
            variables,
            encoded,
            valid,
            piece,
            decode=True,
            max_decode_length=10,
            mutable=["cache"],
            method="decode",
        )

    _, state = feed(variables, targets[:, :1])
    pieces = []
    for piece in np.split(targets, [1, 4], axis=1):  # of one token and of several
        logits, state = feed(variables | state, piece)
        pieces.append(logits)
    np.testing.assert_allclose(
        np.concatenate(pieces, axis=1), golden.arrays["prompted/logits"], atol=1e-4
    )


def test_hypotheses_of_one_example_share_its_encoder_states():
    golden = t5_golden.load("v1_1")
    tokens, variables = golden.arrays["encoder_input_tokens"], {"params": golden.params}
    encoded = golden.encode(tokens)
    valid = network.encoder_valid(tokens)
    fed = np.arange(12, dtype=np.int32)[:, None] + 2  # two hypotheses for each of 6 rows

    @jax.jit
    def logits(encoded, valid):
        settings = dict(decode=True, max_decode_length=3, mutable=["cache"], method="decode")
        _, state = golden.module.apply(variables, encoded, valid, fed, **settings)
        return golden.module.apply(variables | state, encoded, valid, fed, **settings)[0]

    repeated = logits(np.repeat(encoded, 2, axis=0), np.repeat(valid, 2, axis=0))
    np.testing.assert_allclose(logits(encoded, valid), repeated, atol=1e-5)


@versions
def test_rematerialisation_gives_the_same_loss_and_gradient(version):
    golden = t5_golden.load(version)
    loss, gradient = golden.loss_and_gradient(dropout_rate=0.1)
    remat_loss, remat_gradient = golden.loss_and_gradient(dropout_rate=0.1, remat=True)
    np.testing.assert_allclose(loss, remat_loss, rtol=1e-6)
    np.testing.assert_allclose(gradient, remat_gradient, rtol=1e-4, atol=1e-6)


@versions
@pytest.mark.parametrize("remat", [False, True])
def test_scanned_layers_give_the_logits_of_hugging_face(version, remat):
    golden = t5_golden.load(version).scanned()
    config = dataclasses.replace(golden.module.config, remat=remat)
    logits = logits_of(golden, "prompted", config=config)
    np.testing.assert_allclose(logits, golden.arrays["prompted/logits"], atol=1e-4, rtol=0)


def test_dropout_changes_the_loss_only_where_its_rate_is_positive():
    golden = t5_golden.load("v1_0")
    without, with_dropout = (golden.loss_and_gradient(dropout_rate=r)[0] for r in (0.0, 0.3))
    expected = np.mean(jax.nn.log_softmax(golden.arrays["prompted/logits"])[..., 5])
    np.testing.assert_allclose(without, expected, rtol=1e-5)
    assert abs(with_dropout - without) > 1e-3


@versions
def test_bfloat16_is_near_float32_and_gives_float32_logits(version):
    golden = t5_golden.load(version)
    config = dataclasses.replace(golden.module.config, dtype="bfloat16")
    logits = logits_of(golden, "prompted", config=config)
    assert logits.dtype == jnp.float32
    # These weights are wild (see make_t5_golden.py), so rounding shows more than in a real T5.
    error = np.abs(logits - golden.arrays["prompted/logits"])
    assert error.mean() < 0.1 * golden.arrays["prompted/logits"].std()


def test_hidden_states_are_given_to_whoever_asks():
    golden = t5_golden.load("v1_0")
    apply = functools.partial(golden.module.apply, mutable=["hidden_states"])
    _, state = jax.jit(apply)(
        {"params": golden.params},
        golden.arrays["encoder_input_tokens"],
        golden.arrays["decoder_input_tokens"],
        golden.arrays["prompts"],
    )
    states = state["hidden_states"]
    (final,) = states["encoder"]["final"]
    np.testing.assert_allclose(
        final,
        golden.encode(golden.arrays["encoder_input_tokens"], golden.arrays["prompts"]),
        atol=1e-5,
    )
    assert {k: v["output"][0].shape for k, v in states["decoder"].items() if k != "final"} == {
        "layers_0": (6, 7, 16),
        "layers_1": (6, 7, 16),
    }
    assert states["decoder"]["final"][0].shape == (6, 7, 16)
    assert states["encoder"]["layers_1"]["output"][0].shape == (6, 4 + 9, 16)
