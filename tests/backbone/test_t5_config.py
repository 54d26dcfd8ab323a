import dataclasses
import math
import pathlib
import re

import jax
import jax.numpy as jnp
import pytest
import t5_golden
from gin import config as gin_config

from mpt_jax.backbone import config as backbone_config
from mpt_jax.backbone.config import T5Config
from mpt_jax.backbone.network import Transformer
from mpt_jax.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]
MODELS = ROOT / "gin" / "models"

# Parameters of the published checkpoints; Hugging Face's `num_parameters()` agrees.
PARAMETERS = {
    "t5_small": 60_506_624,
    "t5_base": 222_903_552,
    "t5_large": 737_668_096,
    "t5_xl": 2_851_598_336,
    "t5_xxl": 11_307_321_344,
    "t5_1_1_small": 76_961_152,
    "t5_1_1_base": 247_577_856,
    "t5_1_1_large": 783_150_080,
    "t5_1_1_xl": 2_849_757_184,
    "t5_1_1_xxl": 11_135_332_352,
    "mt5_small": 300_176_768,
    "mt5_base": 582_401_280,
    "mt5_large": 1_229_581_312,
    "mt5_xl": 3_742_619_648,
    "mt5_xxl": 12_921_057_280,
    "umt5_small": 306_601_984,
    "umt5_base": 592_043_520,
    "umt5_xl": 3_768_356_864,
    "umt5_xxl": 12_972_531_712,
    "byt5_small": 299_637_760,
    "byt5_base": 581_653_248,
    "byt5_large": 1_228_183_552,
    "byt5_xl": 3_737_801_728,
    "byt5_xxl": 12_906_899_328,
}


def config_of(name):
    """What `gin/models/<name>.gin` binds."""
    with gin_config.unlock_config():
        gin_config.clear_config()
        gin_config.add_config_file_search_path(str(ROOT))
        gin_config.parse_config_file(str(MODELS / f"{name}.gin"))
        try:
            return gin_config.get_configurable(backbone_config.T5Config)()
        finally:
            gin_config.clear_config()


def count(config):
    config = dataclasses.replace(config, scan_layers=True)  # one layer is traced
    tokens = jnp.ones((1, 1), jnp.int32)
    shapes = jax.eval_shape(lambda: Transformer(config).init(jax.random.key(0), tokens, tokens))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_size_has_the_parameters_of_the_published_one(name):
    config = config_of(name)
    assert count(config) == PARAMETERS[name]
    assert config.logits_via_embedding == (re.fullmatch(r"t5_[^1]\w*", name) is not None)
    assert config.relpos_bias_per_layer == name.startswith("umt5")


def test_mini_is_a_small_v1_1():
    config = config_of("mini")
    assert config.mlp_activations == ("gelu", "linear")
    assert not config.logits_via_embedding
    assert 1_000_000 < count(config) < 8_000_000


def test_every_model_file_is_tested():
    files = {file.stem for file in MODELS.glob("*.gin")}
    assert files == {*PARAMETERS, "mini", "t5", "t5_1_1", "byt5", "checkpoint"}


def test_json_round_trip():
    config = dataclasses.replace(t5_golden.CONFIGS["v1_1"], dropout_rate=0.1, remat=True)
    assert T5Config.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 200_000, "not valid JSON"),
        ("[1]", "must be a JSON object"),
        ('{"emb_dims": 3}', "no field 'emb_dims'. Did you mean 'emb_dim'"),
        ('{"emb_dim": 3}', "lacks vocab_size, num_heads"),
    ],
)
def test_json_that_is_no_config_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        T5Config.from_json(text)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("vocab_size", 0, "vocab_size must be a positive integer, got 0"),
        ("num_heads", 2.0, "num_heads must be a positive integer, got 2.0"),
        ("num_decoder_layers", True, "num_decoder_layers must be a positive integer, got True"),
        ("mlp_activations", (), "mlp_activations must be a non-empty list"),
        ("mlp_activations", "relu", "mlp_activations must be a non-empty list"),
        ("mlp_activations", ["gel", "linear"], "holds 'gel'.* Did you mean 'gelu'"),
        ("dtype", "float16", r"dtype must be one of \('float32', 'bfloat16'\), got 'float16'"),
        ("dropout_rate", 1.0, r"dropout_rate must be in \[0, 1\), got 1.0"),
        (
            "num_heads",
            10**39,
            "num_heads must be .*, got 10+; at most 2,147,483,647",
        ),
        ("relpos_max_distance", 1e39, "relpos_max_distance must be a positive integer, got 1e.39"),
        ("relpos_max_distance", 10**39, "relpos_max_distance must be a positive integer, got 1000"),
        ("relpos_buckets", 2**40, "relpos_buckets must be a positive multiple of 4, got 10995"),
        ("layer_norm_epsilon", 0.0, r"layer_norm_epsilon must be in \(0, 1\), got 0.0"),
        ("layer_norm_epsilon", 1e39, r"layer_norm_epsilon must be in \(0, 1\), got 1e.39"),
        ("layer_norm_epsilon", float("nan"), r"layer_norm_epsilon must be in \(0, 1\), got nan"),
        ("eos_id", 10**6, "eos_id must be below vocab_size = .*, got 1000000"),
        ("eos_id", 0, "eos_id must be a positive integer, got 0"),
        ("relpos_buckets", 6, "relpos_buckets must be a positive multiple of 4, got 6"),
        ("relpos_max_distance", 4, "relpos_max_distance must exceed relpos_buckets / 2 = 4"),
    ],
)
def test_values_out_of_range_are_refused(field, value, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(t5_golden.CONFIGS["v1_0"], **{field: value})


def test_activations_from_gin_may_be_a_list():
    config = dataclasses.replace(t5_golden.CONFIGS["v1_1"], mlp_activations=["gelu", "linear"])
    assert hash(config) == hash(t5_golden.CONFIGS["v1_1"])
