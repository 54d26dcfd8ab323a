"""T5's relatives as transformers saves and computes them, and what is none of them."""

import functools
import json
import shutil

import golden_folders as golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import t5_golden

from mpt_jax.backbone import decoding, fused_attention, network, store
from mpt_jax.backbone.formats import backbones
from mpt_jax.errors import UserError

FAMILIES = golden.FAMILIES
NAMES = ("byt5", "umt5", "mt5", "flan_t5", "ul2")
BEAM = "beam_0.6"


def load(name, **choices):
    """(config, parameters, arrays of outputs.npz)"""
    with np.load(FAMILIES / name / "outputs.npz", allow_pickle=False) as stored:
        return *golden.load(FAMILIES / name, **choices), dict(stored)


@functools.cache
def searches(config):
    """Greedy and beam search in one compiled function."""
    module = network.Transformer(config)

    @jax.jit
    def run(params, tokens, prompts):
        encoded = module.apply({"params": params}, tokens, prompts, method="encode")
        valid = network.encoder_valid(tokens, prompts)
        settings = {"max_decode_length": t5_golden.MAX_DECODE_LENGTH}
        beams = {"num_beams": t5_golden.NUM_BEAMS, "length_penalty": 0.6}
        return [
            decoding.generate(module, params, encoded, valid, **settings, **more)
            for more in ({}, beams)
        ]

    return run


def logits(config, params, arrays):
    batch = [arrays[n] for n in ("encoder_input_tokens", "decoder_input_tokens", "prompts")]
    return t5_golden.compiled(config)({"params": params}, *batch)


@pytest.mark.parametrize(
    ("name", "scan_layers"), [*((name, False) for name in NAMES), ("umt5", True)]
)
def test_logits_and_both_searches_are_those_of_transformers(name, scan_layers):
    config, params, arrays = load(name, scan_layers=scan_layers)
    np.testing.assert_allclose(logits(config, params, arrays), arrays["logits"], atol=1e-4)
    (greedy, _), (beam, scores) = searches(config)(
        params, arrays["encoder_input_tokens"], arrays["prompts"]
    )
    np.testing.assert_array_equal(greedy, arrays["greedy"])
    np.testing.assert_array_equal(beam, arrays[BEAM])
    np.testing.assert_allclose(scores, arrays[f"{BEAM}_scores"], atol=1e-4)
    assert store.identify(params) == backbones.identify(str(FAMILIES / name))


def test_what_tells_them_apart():
    configs = {name: backbones.config_of(str(FAMILIES / name)) for name in NAMES}
    assert [name for name in NAMES if configs[name].relpos_bias_per_layer] == ["umt5"]
    assert [name for name in NAMES if configs[name].logits_via_embedding] == []
    activations = {name: config.mlp_activations for name, config in configs.items()}
    assert activations.pop("ul2") == ("silu", "linear")
    assert set(activations.values()) == {("gelu", "linear")}


def copied(name, folder, change=None, **values):
    """A changed copy of a golden folder; None removes a key of config.json."""
    shutil.copytree(FAMILIES / name, folder)
    file = folder / "config.json"
    content = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    if change:
        tensors = safetensors.numpy.load_file(folder / "model.safetensors")
        change(tensors)
        safetensors.numpy.save_file(
            tensors, folder / "model.safetensors", metadata={"format": "pt"}
        )
    return str(folder)


def test_t0_is_read_as_published(tmp_path):
    """bigscience/T0_3B says nothing of the activation, and calls its tokenizer by name."""
    gone = dict.fromkeys(("dense_act_fn", "is_gated_act", "num_decoder_layers"))
    path = copied("flan_t5", tmp_path / "t0", **gone, tokenizer_class="T5Tokenizer", vocab_size=60)
    assert backbones.config_of(path) == backbones.config_of(str(FAMILIES / "flan_t5"))
    assert backbones.identify(path) == backbones.identify(str(FAMILIES / "flan_t5"))


def test_umt5_with_the_embedding_for_a_head_is_scaled(tmp_path):
    path = copied(
        "umt5",
        tmp_path / "tied",
        lambda tensors: tensors.pop("lm_head.weight"),
        tie_word_embeddings=True,
    )
    config, params = golden.load(path)
    assert config.logits_via_embedding
    arrays = load("umt5")[2]
    np.testing.assert_allclose(logits(config, params, arrays), arrays["tied/logits"], atol=1e-4)


def test_umt5_as_transformers_5_saves_it_asks_for_the_truth(tmp_path):
    path = copied("umt5", tmp_path / "umt5", tie_word_embeddings=True)
    with pytest.raises(UserError, match="set tie_word_embeddings = false .*Google's umT5 was"):
        backbones.config_of(path)


def test_a_bias_per_layer_in_fused_attention_and_a_scan(monkeypatch):
    """Loss and gradient of the prompts: neither needs one of a frozen bias."""

    def loss_and_gradient(**choices):
        config, params, arrays = load("umt5", **choices)
        module = network.Transformer(config)
        batch = [arrays[name][:2] for name in ("encoder_input_tokens", "decoder_input_tokens")]

        def loss(prompts):
            found = module.apply({"params": params}, *batch, prompts)
            return jnp.mean(jax.nn.log_softmax(found)[..., 5])

        return jax.jit(jax.value_and_grad(loss))(arrays["prompts"][:2])

    dense = loss_and_gradient(attention="dense")
    monkeypatch.setattr(fused_attention, "INTERPRET", True)
    fused = loss_and_gradient(attention="fused", scan_layers=True, remat=True)
    for found, expected in zip(fused, dense, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


OTHERS = {
    "LongT5": ({"model_type": "longt5"}, "describes LongT5, model_type 'longt5', which is not"),
    "T5Gemma": ({"model_type": "t5gemma"}, "describes T5Gemma"),
    "Switch": ({"model_type": "switch_transformers"}, "describes Switch Transformers"),
    "Pix2Struct": ({"model_type": "pix2struct"}, "describes Pix2Struct"),
    "no list": ({"model_type": "t5gemma2", "architectures": 7}, "describes T5Gemma 2"),
    "BERT": ({"model_type": "bert"}, "describes model_type 'bert', which is not read"),
    "a list": ({"model_type": ["t5"]}, "describes model_type .*t5.*, which is not read"),
    "an encoder": ({"architectures": ["T5EncoderModel"]}, "T5EncoderModel, an encoder alone"),
    "a classifier": (
        {"architectures": ["T5ForSequenceClassification"]},
        "T5ForSequenceClassification, no text-to-text",
    ),
    "CodeT5": (
        {"tokenizer_class": "RobertaTokenizer"},
        "names the tokenizer RobertaTokenizer, CodeT5's, which is not read: .*SentencePiece",
    ),
    "MyT5": ({"tokenizer_class": "MyT5Tokenizer"}, "MyT5's"),
    "umT5 by name": (
        {"model_type": "umt5"},
        "lacks the tensor 'decoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight'",
    ),
}


@pytest.mark.parametrize(("values", "message"), OTHERS.values(), ids=OTHERS)
def test_other_architectures_are_refused_by_name(tmp_path, values, message):
    path = copied("flan_t5", tmp_path / "other", **values)
    with pytest.raises(UserError, match=message) as error:
        backbones.identify(path)
    assert "\n" not in str(error.value)


def test_an_encoder_without_a_decoder_is_refused(tmp_path):
    def change(tensors):
        for name in [n for n in tensors if n.startswith("decoder.")]:
            del tensors[name]

    path = copied("flan_t5", tmp_path / "encoder", change, architectures=None)
    with pytest.raises(UserError, match="holds an encoder alone"):
        backbones.config_of(path)
