"""Backbone folders: exact round trips, fingerprints, and each way a file can be wrong."""

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import stand_in_bucket
import t5_golden
from flax import traverse_util

from mpt_jax.backbone import axes, store, weights
from mpt_jax.backbone.config import T5Config
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.errors import UserError

CONFIG = T5Config(
    vocab_size=12,
    emb_dim=4,
    num_heads=4,
    head_dim=1,
    mlp_dim=8,
    num_encoder_layers=1,
    num_decoder_layers=1,
)
SHAPES = {  # some of a T5's parameters; the store does not ask which
    "token_embedder/embedding": (12, 4),
    "encoder/relpos_bias/rel_embedding": (4, 32),
    "encoder/layers_0/mlp/wi/kernel": (4, 8),
    "encoder/layers_0/mlp/wo/kernel": (8, 4),
    "decoder/decoder_norm/scale": (4,),
}


def _params(seed=0, **others):
    """Random parameters, except for those given: path -> array."""
    rng = np.random.default_rng(seed)
    flat = {path: rng.normal(size=shape).astype(np.float32) for path, shape in SHAPES.items()}
    return traverse_util.unflatten_dict({**flat, **others}, sep="/")


def _load(path, params=None, dtype="float32", num_partitions=1):
    params = params or _params()
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), params)
    shardings = PjitPartitioner(num_partitions).sharding(axes.param_axes(params), shapes)
    return weights.load(store.open_weights(str(path)), shapes, shardings)


@pytest.fixture(name="folder")
def _folder(tmp_path):
    """A saved backbone, in a folder that did not exist."""
    folder = tmp_path / "new" / "backbone"
    store.save(str(folder), _params(), CONFIG)
    return folder


def test_round_trip_is_exact(folder):
    loaded = _load(folder)
    jax.tree.map(np.testing.assert_array_equal, loaded, _params())
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded)} == {jnp.dtype("float32")}
    assert T5Config.from_json((folder / store.CONFIG).read_text()) == CONFIG
    assert sorted(os.listdir(folder)) == [store.CONFIG, store.WEIGHTS]


def test_only_the_backbone_is_written(tmp_path):
    params = {**_params(), "prompt_bank": {"shared": np.ones((2, 4))}}
    store.save(str(tmp_path), params, CONFIG)
    names = safetensors.numpy.load_file(tmp_path / store.WEIGHTS).keys()
    assert names == SHAPES.keys()


def test_a_backbone_is_written_into_a_bucket(tmp_path, monkeypatch):
    stand_in_bucket.install(tmp_path, monkeypatch)
    store.save("gs://bucket/backbone", _params(), CONFIG)
    loaded = _load(tmp_path / "bucket" / "backbone")
    jax.tree.map(np.testing.assert_array_equal, loaded, _params())


def test_stacked_layers_are_stored_one_by_one_and_read_in_either_way(tmp_path):
    golden = t5_golden.load("v1_1")
    plain, scanned = golden.params, golden.scanned().params
    store.save(str(tmp_path), scanned, golden.module.config)
    jax.tree.map(np.testing.assert_array_equal, _load(tmp_path, plain), plain)
    jax.tree.map(np.testing.assert_array_equal, _load(tmp_path, scanned), scanned)
    jax.tree.map(np.testing.assert_array_equal, _load(tmp_path, scanned, num_partitions=2), scanned)
    assert store.identify(_load(tmp_path, scanned)) == store.identify(_load(tmp_path, plain))


def test_bfloat16_storage_rounds_once_and_keeps_the_fingerprint(folder, tmp_path):
    store.save(str(tmp_path), _params(), CONFIG, dtype="bfloat16")
    loaded = _load(tmp_path)
    rounded = jax.tree.map(lambda x: x.astype(jnp.bfloat16).astype(np.float32), _params())
    jax.tree.map(np.testing.assert_array_equal, loaded, rounded)
    assert store.identify(loaded).fingerprint == store.identify(_load(folder)).fingerprint
    size, half = (os.path.getsize(d / store.WEIGHTS) for d in (folder, tmp_path))
    values = sum(np.prod(shape) for shape in SHAPES.values())
    assert abs(size - half - 2 * values) < 64  # except for the header's padding


def test_bfloat16_in_memory(folder):
    loaded = _load(folder, dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded)} == {jnp.dtype("bfloat16")}
    assert store.identify(loaded).fingerprint == store.identify(_params()).fingerprint


def test_saving_again_replaces(folder):
    store.save(str(folder), _params(seed=1), CONFIG)
    jax.tree.map(np.testing.assert_array_equal, _load(folder), _params(seed=1))


@pytest.mark.parametrize("num_partitions", [2, 4])
def test_each_device_gets_its_slice_of_the_same_values(folder, num_partitions):
    loaded = _load(folder, num_partitions=num_partitions)
    jax.tree.map(np.testing.assert_array_equal, loaded, _params())
    shards = loaded["token_embedder"]["embedding"].addressable_shards
    assert len(shards) == 4
    assert {shard.data.shape for shard in shards} == {(12 // num_partitions, 4)}
    assert store.identify(loaded).fingerprint == store.identify(_params()).fingerprint


def test_a_slice_is_read_once_for_all_devices_that_hold_it(folder):
    """Of data 2 x model 2, half of the devices hold the same."""
    read, opened = [], store.open_weights(str(folder))

    def counted(tensor):
        def take(index):
            read.append(tensor.read(index))
            return read[-1]

        return dataclasses.replace(tensor, read=take)

    tensors = {name: counted(tensor) for name, tensor in opened.tensors.items()}
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, "float32"), _params())
    shardings = PjitPartitioner(2).sharding(axes.param_axes(shapes), shapes)
    weights.load(dataclasses.replace(opened, tensors=tensors), shapes, shardings)
    assert sum(part.size for part in read) == sum(leaf.size for leaf in jax.tree.leaves(shapes))


def test_every_change_gives_another_fingerprint():
    wi, wo = "encoder/layers_0/mlp/wi/kernel", "encoder/layers_0/mlp/wo/kernel"
    flat = traverse_util.flatten_dict(_params(), sep="/")
    changed = flat["decoder/decoder_norm/scale"].copy()
    changed[2] *= 1.1
    others = [
        _params(),
        _params(seed=1),
        _params(**{"decoder/decoder_norm/scale": changed}),
        _params(**{wi: flat[wi].reshape(8, 4), wo: flat[wo]}),
        _params(**{wi: flat[wo].reshape(4, 8), wo: flat[wi].reshape(8, 4)}),
        _params(**{"decoder/decoder_norm/other": flat["decoder/decoder_norm/scale"]}),
    ]
    prints = [store.identify(params).fingerprint for params in others]
    assert len(set(prints)) == len(others)
    assert all(len(text) == 16 and int(text, 16) >= 0 for text in prints)


def test_a_prompt_bank_does_not_change_the_fingerprint():
    params = {**_params(), "prompt_bank": {"shared": np.ones((2, 4))}}
    assert store.identify(params).fingerprint == store.identify(_params()).fingerprint


def _rewrite(folder, change):
    """Applies `change` to the file's tensors, a dict."""
    tensors = safetensors.numpy.load_file(folder / store.WEIGHTS)
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / store.WEIGHTS)


WI = "encoder/layers_0/mlp/wi/kernel"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(WI), f"lacks the tensor '{WI}'.*Did you mean"),
        (lambda t: t.update(adapter=t[WI]), "extra tensor 'adapter'.*model gin"),
        (
            lambda t: t.update({"decoder/logits_dense/kernel": t[WI]}),
            "extra tensor 'decoder/logits_dense/kernel'.*T5Config.logits_via_embedding = False",
        ),
        (lambda t: t.update({WI: t[WI].T.copy()}), rf"'{WI}' has shape \(8, 4\).*\(4, 8\)"),
    ],
    ids=["missing", "extra", "head", "misshapen"],
)
def test_a_tensor_that_does_not_fit_is_named(folder, change, message):
    _rewrite(folder, change)
    with pytest.raises(UserError, match=message):
        _load(folder)


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file(folder, keep):
    path = folder / store.WEIGHTS
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UserError, match=r"model\.safetensors is truncated or corrupted"):
        _load(folder)


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_values_that_are_not_finite_are_refused_and_named(tmp_path, value, dtype):
    params = _params()
    params["encoder"]["layers_0"]["mlp"]["wi"]["kernel"][2, 3] = value
    store.save(str(tmp_path), params, CONFIG)
    with pytest.raises(UserError, match=f"'{WI}' holds values that are not finite"):
        _load(tmp_path, dtype=dtype, num_partitions=2)
    with pytest.raises(UserError, match=f"'{WI}' holds values that are not finite"):
        store.identify_weights(store.open_weights(str(tmp_path)))


def test_a_stacked_layer_that_is_not_finite_is_named(tmp_path):
    scanned = jax.tree.map(np.array, t5_golden.load("v1_1").scanned().params)
    scanned["encoder"]["layers"]["mlp"]["wo"]["kernel"][1, 0, 0] = np.inf
    store.save(str(tmp_path), scanned, t5_golden.load("v1_1").module.config)
    with pytest.raises(UserError, match="'encoder/layers_1/mlp/wo/kernel' holds"):
        _load(tmp_path, scanned)


def test_one_value_among_many_changes_the_fingerprint():
    params = _params(**{WI: np.ones((300, 200), np.float32)})
    changed = np.ones((300, 200), np.float32)
    changed[17, 101] = 0
    assert (
        store.identify(params).fingerprint != store.identify(_params(**{WI: changed})).fingerprint
    )


def test_a_config_that_was_changed_is_refused(folder):
    config = folder / store.CONFIG
    config.write_text(config.read_text().replace("128", "129"))  # relpos_max_distance
    with pytest.raises(UserError, match="config.json is not as it was written"):
        store.open_weights(str(folder))
