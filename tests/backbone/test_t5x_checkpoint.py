"""T5X's two layouts, as orbax, flax and tensorstore write them: same weights, strictly read."""

import json
import shutil

import golden_folders as golden
import jax
import numpy as np
import pytest
import t5_golden
import tensorstore
from flax import serialization, traverse_util

from mpt_jax.backbone.formats import backbones, t5x_arrays
from mpt_jax.errors import UserError

VERSION = "t5_v1_1"


def _orbax(folder, tree):
    state = {"step": np.int32(7), "param_states": {"mu": tree}}
    golden.save_orbax(folder / "checkpoint_7", {"target": tree, "state": state})
    return folder / "checkpoint_7"


def _orbax_params_at_the_root(folder, tree):
    golden.save_orbax(folder, {**tree, "prompt_bank": {"shared": np.ones(3)}}, item="default")
    return folder


def _orbax_in_folders(folder, tree):
    golden.save_orbax(folder, {"params": tree}, item="item", use_ocdbt=False)
    return folder / "item"


def _orbax_zarr3(folder, tree):
    golden.save_orbax(folder, {"params": tree}, use_zarr3=True)
    return folder


def _legacy(folder, tree):
    golden.save_legacy(folder / "checkpoint_7", tree)
    return folder / "checkpoint_7"


def _legacy_one_file(folder, tree):
    (folder / "tiny.checkpoint_0").write_bytes(
        serialization.msgpack_serialize({"target": tree, "state": {"step": np.int32(0)}})
    )
    return folder / "tiny.checkpoint_0"


LAYOUTS = [
    _orbax,
    _orbax_params_at_the_root,
    _orbax_in_folders,
    _orbax_zarr3,
    _legacy,
    _legacy_one_file,
]


@pytest.fixture(name="checkpoints", scope="module")
def _checkpoints(tmp_path_factory):
    """{layout: path} of the same backbone."""
    tree = golden.tree_of(VERSION)
    return {layout: layout(tmp_path_factory.mktemp("t5x"), tree) for layout in LAYOUTS}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_and_sizes_are_those_of_the_original(checkpoints, layout):
    config, params = golden.load(checkpoints[layout], num_devices=2, relpos_max_distance=10)
    assert config == t5_golden.CONFIGS["v1_1"]
    jax.tree.map(np.testing.assert_array_equal, params, golden.tree_of(VERSION))


def test_layers_are_stacked_for_a_scan(checkpoints):
    _, params = golden.load(checkpoints[_legacy], scan_layers=True)
    expected = t5_golden.load("v1_1").scanned().params
    jax.tree.map(np.testing.assert_array_equal, params, expected)


def test_tied_weights_and_one_projection_show_in_the_shapes(tmp_path):
    path = _legacy_one_file(tmp_path, golden.tree_of("t5_v1_0"))
    config = backbones.config_of(str(path), relpos_max_distance=10)
    assert config == t5_golden.CONFIGS["v1_0"]


@pytest.fixture(name="copy")
def _copy(tmp_path):
    """Writes a changed backbone in T5X's first layout: change(tree) -> path."""

    def write(change):
        tree = golden.tree_of(VERSION)
        change(tree)
        golden.save_legacy(tmp_path / "checkpoint_7", tree)
        return str(tmp_path / "checkpoint_7")

    return write


CHANGES = {
    "missing": (lambda d: d["mlp"].pop("wo"), "lacks the tensor 'decoder/layers_1/mlp/wo/kernel'"),
    "extra": (
        lambda d: d["mlp"].update(bias=np.ones(3, np.float32)),
        "extra tensor 'decoder/layers_1/mlp/bias'",
    ),
    "misshapen": (
        lambda d: d["mlp"].update(wo={"kernel": np.ones((2, 3), np.float32)}),
        r"'decoder/layers_1/mlp/wo/kernel' has shape \(2, 3\)",
    ),
    "whole numbers": (
        lambda d: d["mlp"].update(wo={"kernel": np.ones((32, 16), np.uint16)}),
        "'decoder/layers_1/mlp/wo/kernel' is of type uint16",
    ),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_an_array_that_does_not_fit_is_named(copy, change, message):
    path = copy(lambda tree: change(tree["decoder"]["layers_1"]))
    with pytest.raises(UserError, match=message):
        backbones.identify(path)


def test_a_checkpoint_of_something_else(tmp_path):
    golden.save_orbax(tmp_path, {"params": {"dense": np.ones(3)}})
    with pytest.raises(UserError, match="checkpoint without a T5.*token_embedder/embedding"):
        backbones.open_weights(str(tmp_path))


def stacked(version, name=None, axis=1):
    """As a scan leaves the layers: encoder/encoder and decoder/decoder, or another `name`.

    Heads are apart, as in T5X's scalable_t5, where there is a bias per layer.
    """
    tree = golden.tree_of(version)
    if version == "umt5":
        flat = traverse_util.flatten_dict(tree)
        for path, leaf in flat.items():
            if path[-1] == "kernel" and "attention" in path[-3]:
                parts = (2, 8, 16) if path[-2] == "out" else (16, 2, 8)
                flat[path] = leaf.reshape(parts)
        tree = traverse_util.unflatten_dict(flat)
    for side in ("encoder", "decoder"):
        names = sorted(name for name in tree[side] if name.startswith("layers_"))
        layers = [tree[side].pop(name) for name in names]
        tree[side][name or side] = jax.tree.map(lambda *leaves: np.stack(leaves, axis), *layers)
    return tree


@pytest.mark.parametrize(
    ("version", "save", "name"),
    [("umt5", _orbax, None), ("umt5", _legacy_one_file, None), (VERSION, _legacy, "layers")],
)
def test_layers_that_a_scan_has_stacked_are_read_one_by_one(tmp_path, save, name, version):
    path = save(tmp_path, stacked(version, name))
    config, params = golden.load(path, relpos_max_distance=10)
    expected = golden.tree_of(version)
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    assert config.relpos_bias_per_layer == (version == "umt5")


def test_a_part_of_heads_that_are_apart(tmp_path):
    found = backbones.open_weights(str(_orbax(tmp_path, stacked("umt5")))).tensors
    for name in ("query", "out"):
        kernel = found[f"encoder/layers_1/attention/{name}/kernel"]
        for part in (np.s_[3:9, 5:13], np.s_[:, 8:16], np.s_[15:16, 0:1]):
            np.testing.assert_array_equal(kernel.read(part), kernel.whole()[part])


def test_layers_that_are_stacked_another_way_are_refused(tmp_path):
    path = _legacy_one_file(tmp_path, stacked(VERSION, axis=0))
    with pytest.raises(UserError, match="coder/.*/scale' of all layers.* from axis 1"):
        backbones.open_weights(str(path))


WI = "encoder/layers_0/mlp/wi_0/kernel"
ARRAY = f"target.{WI.replace('/', '.')}"


def test_a_chunk_that_was_not_copied_is_not_read_as_zeros(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints[_legacy], tmp_path / "copy")
    (folder / ARRAY / "0.1").unlink()
    with pytest.raises(UserError, match=f"'{WI}' cannot be read"):
        backbones.identify(str(folder))


@pytest.mark.parametrize("chunks", [[2**40, 2**20], [17, 32]])
def test_chunks_beyond_their_array_are_refused(checkpoints, tmp_path, chunks):
    folder = shutil.copytree(checkpoints[_legacy], tmp_path / "copy")
    file = folder / ARRAY / ".zarray"
    file.write_text(json.dumps({**json.loads(file.read_text()), "chunks": chunks}))
    with pytest.raises(UserError, match=f"'{WI}'"):
        backbones.open_weights(str(folder))


@pytest.mark.parametrize("name", ["../secret", "/etc", "a/b", "..", "", "C:\\x"])
def test_an_array_elsewhere_is_refused(tmp_path, name):
    content = serialization.msgpack_restore(_one_spec(tmp_path, name))
    assert content["optimizer"]["target"]["token_embedder"]["embedding"]["kvstore"]["path"] == name
    with pytest.raises(UserError, match="arrays lie in the checkpoint's folder"):
        backbones.open_weights(str(tmp_path / "checkpoint_0"))


def _one_spec(folder, name):
    """A checkpoint whose embedding is said to lie at `name`; a readable array is in `secret`."""
    array = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(folder / "secret")}}
    metadata = {"shape": [4, 4], "dtype": "<f4"}
    tensorstore.open({**array, "metadata": metadata}, create=True).result()
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": name}, "metadata": {}}
    tree = {"target": {"token_embedder": {"embedding": spec}}}
    content = serialization.msgpack_serialize({"version": 3, "optimizer": tree})
    (folder / "checkpoint_0").mkdir()
    (folder / "checkpoint_0" / "checkpoint").write_bytes(content)
    return content


@pytest.mark.parametrize("key", ["../../secret", "a/b"])
def test_an_orbax_tree_that_names_an_array_elsewhere(checkpoints, tmp_path, key):
    folder = shutil.copytree(checkpoints[_orbax], tmp_path / "copy")
    file = folder / "state" / "_METADATA"
    content = json.loads(file.read_text())
    for leaf in content["tree_metadata"].values():
        keys = leaf["key_metadata"]
        if keys[1]["key"] == "encoder":
            keys[2]["key"] = key
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="arrays lie in the checkpoint's folder"):
        backbones.open_weights(str(folder))


def test_a_bucket_is_read_by_tensorstores_driver():
    in_bucket = {"driver": "gcs", "bucket": "t5-data", "path": "t5x/base/checkpoint_1/target.x/"}
    assert t5x_arrays.kvstore("gs://t5-data/t5x/base/checkpoint_1/", "target.x") == in_bucket
    tensorstore.KvStore.Spec(in_bucket)
    assert t5x_arrays.kvstore("/a/b", "x") == {"driver": "file", "path": "/a/b/x/"}
