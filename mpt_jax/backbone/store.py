"""Our own backbone format: a folder with `model.safetensors` (T5X's names) and `config.json`."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import traverse_util

from mpt_jax import files, hosts
from mpt_jax.backbone import tensor_file
from mpt_jax.backbone.config import T5Config
from mpt_jax.backbone.weights import Weights, tensor_names, tensor_shapes

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
BACKBONE_TREES = ("encoder", "decoder", "token_embedder")


def save(
    directory: str,
    params: Mapping,
    config: T5Config,
    dtype: str = "float32",
    header: Mapping[str, str] | None = None,
) -> None:
    """Write the backbone part of `params` and its config, each file atomically.

    Args:
        directory: made where it is missing.
        params: nested dict of parameters, whole on this host; only `BACKBONE_TREES` are written.
        config: its sizes.
        dtype: of the stored weights, "float32" or "bfloat16" (half the size).
        header: texts to write into the weights' file beside the tensors.

    Raises:
        UserError: the files cannot be written.
    """
    tensors = {
        name: np.asarray(leaf, dtype) for name, leaf in _by_layer(flat_backbone(params)).items()
    }
    content = safetensors.numpy.save(tensors, metadata=dict(header) if header else None)
    files.write_whole(os.path.join(directory, WEIGHTS), content)
    files.write_whole(os.path.join(directory, CONFIG), config.to_json() + "\n")


def open_weights(path: str, file: str | None = None) -> Weights:
    """The weights in a folder that `save` has written, with the sizes its config.json states.

    Args:
        path: the folder. Without a config.json the sizes are the model gin's affair.
        file: the weights' file in it, where it has another name than `WEIGHTS`.

    Raises:
        UserError: a truncated or corrupted file.
    """
    file = file or os.path.join(path, WEIGHTS)
    return Weights(file, tensor_file.tensors_of(file), stated_in(path))


def stated_in(path: str) -> dict[str, Any]:
    """The fields of `T5Config` in a folder's config.json of ours; none where there is none.

    Raises:
        UserError: the file is broken.
    """
    config = os.path.join(path, CONFIG)
    if not os.path.isfile(config):
        return {}
    return dataclasses.asdict(T5Config.from_fields(files.read_json(config)))


def write(directory: str, weights: Weights, config: T5Config) -> None:
    """Write a backbone and its config, one tensor at a time, into a folder that nobody reads yet.

    Raises:
        OSError: the files cannot be written.
        UserError: a tensor cannot be read.
    """
    tensors = dict(sorted(weights.tensors.items()))
    tensor_file.write(os.path.join(directory, WEIGHTS), tensors, {})
    write_config(directory, config)


def write_config(directory: str, config: T5Config) -> None:
    """Write the config.json that `stated_in` reads.

    Raises:
        OSError: it cannot be written.
    """
    with open(os.path.join(directory, CONFIG), "w", encoding="utf-8") as stream:
        stream.write(config.to_json() + "\n")


def fingerprint(params: Mapping, tuned: str = "") -> str:
    """16 hex digits that tell one backbone from another, whatever file it was read from.

    Hashes each parameter's name, shape and 16 evenly spaced values rounded to bfloat16, so a copy
    stored in bfloat16 has the fingerprint of its float32 original, and nothing large is fetched.

    Args:
        params: nested dict of parameters.
        tuned: pattern of the backbone's parameters that train, which are left out.
    """
    flat = {
        path: leaf for path, leaf in flat_backbone(params).items() if not re.fullmatch(tuned, path)
    }
    return _digest(tensor_shapes(flat), hosts.fetch(_samples(flat)))


def fingerprint_of(weights: Weights) -> str:
    """The `fingerprint` of weights in a file, of which one tensor at a time is in memory.

    Raises:
        UserError: a tensor cannot be read.
    """
    samples = {name: _sample(tensor.whole()) for name, tensor in weights.tensors.items()}
    return _digest({name: tensor.shape for name, tensor in weights.tensors.items()}, samples)


def _digest(shapes: Mapping[str, tuple[int, ...]], samples: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(samples):
        digest.update(f"{name}{shapes[name]}".encode())
        digest.update(samples[name].tobytes())
    return digest.hexdigest()[:16]


@jax.jit  # compiled once: every saved prompt file asks for the fingerprint
def _samples(flat: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return jax.tree.map(_sample, _by_layer(flat))


def _sample(leaf: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
    stride = max(1, leaf.size // 16)
    return leaf.reshape(-1)[: 16 * stride : stride].astype(jnp.bfloat16)


def flat_backbone(params: Mapping) -> dict[str, Any]:
    """The backbone's leaves of a parameter tree, by path."""
    trees = {name: params[name] for name in BACKBONE_TREES}
    return traverse_util.flatten_dict(trees, sep="/")


def _by_layer(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{name in a file: array} for parameters by name."""
    return {
        tensor: leaf if tensor == name else leaf[i]
        for name, leaf in flat.items()
        for i, tensor in enumerate(tensor_names(name, leaf.shape))
    }
