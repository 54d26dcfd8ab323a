"""Hugging Face's folders: logits as transformers computes them, and each way a folder can lie."""

import dataclasses
import json
import shutil

import golden_folders as golden
import numpy as np
import pytest
import safetensors.numpy
import t5_golden

from mpt_jax.backbone.formats import backbones, huggingface
from mpt_jax.errors import UserError


@pytest.fixture(name="folder", params=["t5_v1_1"])
def _folder(request, tmp_path):
    """A copy of a golden folder, to be changed."""
    return shutil.copytree(golden.HUGGINGFACE / request.param, tmp_path / "folder")


def configure(folder, **values):
    """Sets fields of config.json; None removes one."""
    file = folder / "config.json"
    content = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def change(folder, function):
    """Applies `function` to the dict of the tensors."""
    file = folder / "model.safetensors"
    tensors = safetensors.numpy.load_file(file)
    function(tensors)
    safetensors.numpy.save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize("version", golden.VERSIONS)
def test_logits_are_those_of_transformers(version):
    config, params = golden.load(golden.HUGGINGFACE / version)
    expected = golden.expected_logits(version)
    np.testing.assert_allclose(golden.logits(config, params), expected, atol=1e-4)


@pytest.mark.parametrize("version", ["v1_0", "v1_1"])
def test_config_json_gives_the_sizes(version):
    config = backbones.config_of(str(golden.HUGGINGFACE / f"t5_{version}"))
    assert config == dataclasses.replace(t5_golden.CONFIGS[version], eos_id=1)


def test_mt5s_config_and_choices():
    config = backbones.config_of(str(golden.HUGGINGFACE / "mt5"), dtype="bfloat16", remat=True)
    assert (config.num_encoder_layers, config.num_decoder_layers) == (1, 2)
    assert (config.num_heads, config.head_dim, config.emb_dim) == (3, 8, 16)
    assert (config.dtype, config.remat, config.logits_via_embedding) == ("bfloat16", True, False)


def test_the_weights_file_and_the_index_name_their_folder():
    for version, name in (("t5_v1_0", "model.safetensors"), ("mt5", huggingface.INDEX)):
        folder = golden.HUGGINGFACE / version
        assert backbones.config_of(str(folder / name)) == backbones.config_of(str(folder))


def test_what_transformers_4_writes_is_the_same_model(folder):
    old = {"scale_decoder_outputs": None, "tie_word_embeddings": False}
    configure(folder, **old, num_decoder_layers=None, dense_act_fn=None, is_gated_act=None)
    change(folder, lambda t: t.update({"encoder.embed_tokens.weight": t["shared.weight"].copy()}))
    stated = dataclasses.replace(t5_golden.CONFIGS["v1_1"], eos_id=1)
    assert backbones.config_of(str(folder)) == stated
    expected = backbones.identify(str(golden.HUGGINGFACE / "t5_v1_1"))
    assert backbones.identify(str(folder)) == expected


@pytest.mark.parametrize("folder", ["t5_v1_0"], indirect=True)
def test_copies_and_what_nobody_reads_are_dropped(folder):
    def add(tensors):
        for name in ("lm_head", "encoder.embed_tokens", "decoder.embed_tokens"):
            tensors[f"{name}.weight"] = tensors["shared.weight"].copy()
        del tensors["shared.weight"]
        tensors[huggingface._UNUSED] = np.ones((8, 2), np.float32)

    change(folder, add)
    configure(folder, scale_decoder_outputs=None, tie_word_embeddings=None)
    expected = backbones.identify(str(golden.HUGGINGFACE / "t5_v1_0"))
    assert backbones.identify(str(folder)) == expected


@pytest.mark.parametrize("folder", ["t5_v1_0"], indirect=True)
def test_tied_but_not_scaled(folder):
    configure(folder, scale_decoder_outputs=False)
    config, params = golden.load(folder)
    assert not config.logits_via_embedding
    expected = golden.expected_logits("t5_v1_0") * np.sqrt(config.emb_dim)
    np.testing.assert_allclose(golden.logits(config, params), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("folder", ["t5_v1_0"], indirect=True)
@pytest.mark.parametrize("of", [{"tie_word_embeddings": False}, {"scale_decoder_outputs": False}])
def test_a_head_of_its_own_sees_what_is_not_scaled(folder, of):
    """Hugging Face's rule; a head divided by sqrt(d_model) makes up for it, as a message says."""
    root = np.float32(np.sqrt(t5_golden.CONFIGS["v1_0"].emb_dim))
    change(folder, lambda t: t.update({"lm_head.weight": t["shared.weight"] / root}))
    configure(folder, **{"scale_decoder_outputs": None, "tie_word_embeddings": None, **of})
    config, params = golden.load(folder)
    assert not config.logits_via_embedding
    expected = golden.expected_logits("t5_v1_0")
    np.testing.assert_allclose(golden.logits(config, params), expected, rtol=1e-5, atol=1e-4)


WI = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"
LIES = {
    "d_model": ({"d_model": 32}, "emb_dim = 32.*shared.weight"),
    "d_ff": ({"d_ff": 31}, f"mlp_dim = 31.*{WI}"),
    "d_kv": ({"d_kv": 4}, "head_dim = 4.*SelfAttention.q.weight"),
    "num_heads": ({"num_heads": 4, "d_kv": 4}, "num_heads = 4.*relative_attention_bias"),
    "num_layers": ({"num_layers": 10**9}, r"num_encoder_layers = 1000000000.*encoder.block.2\b"),
    "vocab_size": ({"vocab_size": 61}, "vocab_size = 61.*shared.weight"),
    "activation": (
        {"feed_forward_proj": "relu", "dense_act_fn": "relu", "is_gated_act": False},
        f"mlp_activations = .*{WI}",
    ),
    "scaled": (
        {"scale_decoder_outputs": True, "tie_word_embeddings": False},
        "'lm_head.weight' is not 'shared.weight'.*set scale_decoder_outputs = false",
    ),
    "tied": (
        {"scale_decoder_outputs": None, "tie_word_embeddings": True},
        "'lm_head.weight' is not 'shared.weight'.*set tie_word_embeddings = false",
    ),
    "text": ({"d_ff": "many"}, "mlp_dim = 'many'.*wi_0"),
    "absent": ({"d_ff": None}, "lacks d_ff"),
    "exact gelu": ({"dense_act_fn": "gelu"}, "not one of T5's"),
    "epsilon": ({"layer_norm_epsilon": "small"}, "layer_norm_epsilon"),
    "kind": ({"model_type": "umt5"}, "'lm_head.weight' is not 'shared.weight'.*Google's umT5"),
}


@pytest.mark.parametrize(("values", "message"), LIES.values(), ids=LIES)
def test_a_config_that_lies_is_refused(folder, values, message):
    configure(folder, **values)
    with pytest.raises(UserError, match=message):
        backbones.config_of(str(folder))


DEEP = "decoder.block.1.layer.1.EncDecAttention.k.weight"
CHANGES = {
    "missing": (lambda t: t.pop(DEEP), f"lacks the tensor '{DEEP}'"),
    "extra": (lambda t: t.update(more=t[DEEP].copy()), "extra tensor 'more'"),
    "T5X's name": (
        lambda t: t.update({"decoder/layers_0/mlp/wi_0/kernel": t[DEEP].copy()}),
        "extra tensor 'decoder/layers_0",
    ),
    "a third layer": (
        lambda t: t.update({DEEP.replace("1", "2", 1): t[DEEP].copy()}),
        "extra tensor 'decoder.block.2",
    ),
    "misshapen": (lambda t: t.update({DEEP: t[DEEP][:, :-1].copy()}), f"'{DEEP}'.*has shape"),
    "whole numbers": (lambda t: t.update({DEEP: t[DEEP].astype(np.int8)}), f"'{DEEP}'.*type I8"),
    "no lm_head": (
        lambda t: t.pop("lm_head.weight"),
        "lacks the tensor 'lm_head.weight'.*tie_word_embeddings = false",
    ),
    "another copy": (
        lambda t: t.update({"decoder.embed_tokens.weight": t["shared.weight"] + 1}),
        "'decoder.embed_tokens.weight' is not 'shared.weight'",
    ),
}


@pytest.mark.parametrize(("function", "message"), CHANGES.values(), ids=CHANGES)
def test_a_tensor_that_does_not_fit_is_named(folder, function, message):
    configure(folder, tie_word_embeddings=False)
    change(folder, function)
    with pytest.raises(UserError, match=message):
        backbones.identify(str(folder))


@pytest.mark.parametrize("folder", ["mt5"], indirect=True)
@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ("../outside.safetensors", "names the shard '../outside.safetensors'"),
        ("/etc/passwd", "names the shard '/etc/passwd'"),
        ("gone.safetensors", "gone.safetensors"),
        ("model-00003-of-00003.safetensors", "lacks the tensor 'shared.weight'"),
        (7, "no weight_map"),
    ],
)
def test_an_index_that_lies(folder, shard, message):
    index = folder / huggingface.INDEX
    content = json.loads(index.read_text())
    places = content["weight_map"]
    places["shared.weight"] = shard
    index.write_text(json.dumps(content))
    safetensors.numpy.save_file({"x": np.ones(1)}, folder.parent / "outside.safetensors")
    with pytest.raises(UserError, match=message):
        backbones.open_weights(str(folder))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "flax_model.msgpack", "tf_model.h5"])
def test_pickles_are_refused_with_the_way_out(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04.")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(UserError, match=f"{name}.*save it as safetensors.*save_pretrained"):
            backbones.open_weights(str(path))


@pytest.mark.parametrize("value", [1e39, 10**39, 0, -1, "128", None, float("inf"), [128]])
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("relative_attention_max_distance", "relpos_max_distance"),
        ("relative_attention_num_buckets", "relpos_buckets"),
        ("layer_norm_epsilon", "layer_norm_epsilon"),
        ("d_kv", "head_dim"),
        ("vocab_size", "vocab_size"),
        ("eos_token_id", "eos_id"),
    ],
)
def test_sizes_that_cannot_be_are_named(folder, theirs, ours, value):
    if theirs == "eos_token_id" and value is None:  # not stated
        return
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), theirs: value}))
    with pytest.raises(
        UserError, match=f"folder.*( {ours} |T5Config.{ours} must|not a JSON number)"
    ):
        backbones.config_of(str(folder))
