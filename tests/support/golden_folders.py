"""Backbones as others save them: the folders of tests/golden/huggingface, and T5X's two layouts.

T5X's are written here by orbax, by flax and by tensorstore, as T5X calls them; by nothing of ours.
"""

import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp
import t5_golden
import tensorstore
from flax import serialization, traverse_util

from mpt_jax.backbone import network, weights
from mpt_jax.backbone.formats import backbones

HUGGINGFACE = pathlib.Path(__file__).parents[1] / "golden" / "huggingface"
FAMILIES = HUGGINGFACE.parent / "families"
VERSIONS = ("t5_v1_0", "t5_v1_1", "mt5")


def load(path, num_devices: int = 1, **choices):
    """(config, parameters) of a backbone, read as a run does."""
    config = backbones.config_of(str(path), **choices)
    tokens = jax.ShapeDtypeStruct((1, 1), "int32")
    init = network.Transformer(config).init
    shapes = jax.eval_shape(init, jax.random.key(0), tokens, tokens)["params"]
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:num_devices]), ("model",))

    def sharding(leaf):
        even = leaf.shape[-1] % num_devices == 0
        axes = [None] * (len(leaf.shape) - 1) + ["model" if even else None]
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))

    return config, backbones.load(str(path), shapes, jax.tree.map(sharding, shapes))


def folder_of(version: str) -> pathlib.Path:
    """Of one of `VERSIONS`, or of the others in families/."""
    return HUGGINGFACE / version if version in VERSIONS else FAMILIES / version


def logits(config, params) -> np.ndarray:
    """Of the golden batch."""
    batch = t5_golden.load("v1_0").arrays
    tokens = batch["encoder_input_tokens"], batch["decoder_input_tokens"]
    return np.asarray(t5_golden.compiled(config)({"params": params}, *tokens))


def expected_logits(version: str) -> np.ndarray:
    if version == "mt5":
        with np.load(HUGGINGFACE / "mt5" / "logits.npz") as stored:
            return stored["logits"]
    return t5_golden.load(version.removeprefix("t5_")).arrays["plain/logits"]


def tree_of(version: str) -> dict:
    """Nested dict of numpy arrays under T5X's names."""
    found = backbones.open_weights(str(folder_of(version))).tensors
    flat = {name: np.ascontiguousarray(tensor.whole()) for name, tensor in found.items()}
    return traverse_util.unflatten_dict(flat, sep="/")


def save_orbax(folder: pathlib.Path, tree: dict, item: str = "state", **options) -> None:
    handler = ocp.PyTreeCheckpointHandler(**options)
    with ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save((folder / item).absolute(), args=ocp.args.PyTreeSave(tree))


def save_legacy(folder: pathlib.Path, target: dict, in_zarr: str = "kernel") -> None:
    """T5X's first layout: arrays whose name ends in `in_zarr` next to the tree, others in it."""
    folder.mkdir(parents=True)

    def leaf(name, value):
        if not name.endswith(in_zarr):
            return value
        spec = {
            "driver": "zarr",
            "dtype": value.dtype.name,
            "kvstore": {"driver": "file", "path": f"target.{name.replace('/', '.')}"},
            "metadata": {
                "chunks": [max(1, n // 2) for n in value.shape],
                "compressor": {"id": "gzip", "level": 1},
                "shape": list(value.shape),
            },
        }
        place = {"driver": "file", "path": str(folder / spec["kvstore"]["path"])}
        array = tensorstore.open({**spec, "kvstore": place}, create=True).result()
        array.write(value).result()
        return {**spec, "kvstore": {**spec["kvstore"], "driver": "gfile"}}

    flat = traverse_util.flatten_dict(target, sep="/")
    specs = {name: leaf(name, value) for name, value in flat.items()}
    moments = jax.tree.map(np.zeros_like, target)
    state = {"step": np.int32(7), "param_states": {"mu": moments, "untouched": None}}
    tree = {"target": traverse_util.unflatten_dict(specs, sep="/"), "state": state}
    content = serialization.msgpack_serialize({"version": 3, "optimizer": tree})
    (folder / "checkpoint").write_bytes(content)


def shapes_of(version: str) -> dict[str, tuple[int, ...]]:
    tensors = backbones.open_weights(str(HUGGINGFACE / version)).tensors
    return weights.tensor_shapes(tensors)
