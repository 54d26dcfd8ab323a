"""What reading a backbone costs: the host's peak memory and the time, per format.

    python benchmarks/checkpoints.py [--megabytes=200] [--dtype=float32]

Makes a random T5 v1.1 of that size, in every format that is read, and reads each in a process of
its own onto the CPU, where the weights themselves are host memory. `peak` is what the process grew
by at its largest, over the size of the weights in the target type. Linux only.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import record
from flax import serialization, traverse_util

from mpt_jax.backbone import network, store
from mpt_jax.backbone.config import T5Config
from mpt_jax.backbone.formats import backbones
from mpt_jax.convert import convert_backbones

LAYERS, VOCABULARY = 6, 32128
FORMATS = {
    "mpt_jax": "ours",
    "huggingface": "Hugging Face",
    "t5x": "T5X, arrays and a msgpack tree",
    "orbax": "T5X, orbax",
    "msgpack": "T5X, all in one msgpack file",
}


def config_for(megabytes: int) -> T5Config:
    """T5 v1.1's proportions, with the width that gives this size in float32."""
    heads = 1
    while parameters(sizes(heads + 1)) * 4 < megabytes * 2**20:
        heads += 1
    return sizes(heads)


def sizes(heads: int) -> T5Config:
    return T5Config(
        vocab_size=VOCABULARY,
        emb_dim=64 * heads,
        num_heads=heads,
        head_dim=64,
        mlp_dim=160 * heads,
        num_encoder_layers=LAYERS,
        num_decoder_layers=LAYERS,
        mlp_activations=("gelu", "linear"),
        logits_via_embedding=False,
    )


def shapes_of(config: T5Config) -> dict:
    tokens = jax.ShapeDtypeStruct((1, 1), "int32")
    init = network.Transformer(config).init
    return jax.eval_shape(init, jax.random.key(0), tokens, tokens)["params"]


def parameters(config: T5Config) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(shapes_of(config)))


def make(folder: pathlib.Path, config: T5Config) -> dict[str, pathlib.Path]:
    """Name of each format -> a checkpoint of it."""
    rng = np.random.default_rng(0)
    flat = traverse_util.flatten_dict(shapes_of(config), sep="/")
    flat = {name: rng.standard_normal(x.shape, np.float32) for name, x in flat.items()}
    tree = traverse_util.unflatten_dict(flat, sep="/")
    paths = {name: folder / name / "checkpoint_0" for name in ("mpt_jax", "huggingface", "t5x")}
    paths["orbax"], paths["msgpack"] = folder / "orbax", folder / "checkpoint_0"
    store.save(str(paths["mpt_jax"]), tree, config)
    for to in ("huggingface", "t5x"):
        convert_backbones.convert(str(paths["mpt_jax"]), str(paths[to]), to)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(paths["orbax"] / "state", args=ocp.args.PyTreeSave({"target": tree}))
    paths["msgpack"].write_bytes(serialization.msgpack_serialize({"target": tree}))
    return paths


def measure(path: str, dtype: str) -> None:
    """Reads one checkpoint; prints seconds, and bytes that the process grew by at its largest."""
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype),
        shapes_of(backbones.config_of(path)),
    )
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    layout = jax.tree.map(lambda _: device, shapes)
    jax.block_until_ready(jax.numpy.ones(1))
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = memory("VmRSS")
    start = time.perf_counter()
    params = backbones.load(path, shapes, layout)
    seconds = time.perf_counter() - start
    print(seconds, memory("VmHWM") - before)
    del params


def memory(field: str) -> int:
    """Bytes of this process: VmRSS, now, or VmHWM, at its largest."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s*(\d+) kB", status)[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    record.add_flag(parser)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.dtype)
        return
    config = config_for(arguments.megabytes)
    size = parameters(config) * np.dtype(jax.numpy.dtype(arguments.dtype)).itemsize
    print(f"{size / 2**20:.0f} MB in {arguments.dtype}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, path in make(pathlib.Path(folder), config).items():
            command = [sys.executable, __file__, f"--measure={path}", f"--dtype={arguments.dtype}"]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            seconds, grown = map(float, output.split())
            print(f"{FORMATS[name]:32} {seconds:5.1f} s   peak {grown / size:.2f}")
            weights = {"dtype": arguments.dtype, "weights_mb": size / 2**20}
            numbers = {"peak": grown / size, "seconds": seconds}
            rows.append({"format": FORMATS[name], **weights, **numbers})
    record.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
