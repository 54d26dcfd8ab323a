"""Our own backbone format: a folder with `model.safetensors` (T5X's names) and `config.json`."""

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from mpt_jax import checksums, files
from mpt_jax.backbone import fingerprints, tensor_file
from mpt_jax.backbone.config import T5Config
from mpt_jax.backbone.fingerprints import Identity
from mpt_jax.backbone.weights import Weights, not_finite, tensor_names, tensor_shapes

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
    """Write the backbone part of `params` and its config, as one.

    Args:
        directory: made where it is missing.
        params: nested dict of parameters, whole on this host; only `BACKBONE_TREES` are written.
        config: its sizes.
        dtype: of the stored weights, "float32" or "bfloat16" (half the size).
        header: texts to write into the weights' file with the tensors.

    Raises:
        UserError: the files cannot be written.
    """
    tensors = {
        name: np.asarray(leaf, dtype) for name, leaf in _by_layer(flat_backbone(params)).items()
    }
    content = tensor_file.to_bytes(tensors, header)
    path, config_path = os.path.join(directory, WEIGHTS), os.path.join(directory, CONFIG)
    files.write_together({config_path: config.to_json() + "\n", path: content})


def open_weights(path: str, file: str | None = None) -> Weights:
    """The weights in a folder that `save` has written, with the sizes its config.json states.

    Args:
        path: the folder. Without a config.json the sizes are the model gin's affair.
        file: the weights' file in it, where it has another name than `WEIGHTS`.

    Raises:
        UserError: a truncated or damaged file.
    """
    file = file or os.path.join(path, WEIGHTS)
    return Weights(file, tensor_file.open_file(file)[0], stated_in(path))


def stated_in(path: str) -> dict[str, Any]:
    """The fields of `T5Config` in a folder's config.json of ours; none where there is none.

    Raises:
        UserError: the file is broken.
    """
    config = os.path.join(path, CONFIG)
    if not os.path.isfile(config):
        return {}
    fields = checksums.unsealed(config, files.read_json(config))
    return dataclasses.asdict(T5Config.from_fields(fields))


def write(directory: str, weights: Weights, config: T5Config) -> None:
    """Write a backbone and its config, one tensor at a time, into a folder that nobody reads yet.

    Raises:
        OSError: the files cannot be written.
        UserError: a tensor cannot be read.
    """
    with open(os.path.join(directory, WEIGHTS), "wb") as stream:
        tensor_file.write(stream, weights.tensors)
    write_config(directory, config)


def write_config(directory: str, config: T5Config) -> None:
    """Write the config.json that `stated_in` reads.

    Raises:
        OSError: it cannot be written.
    """
    with open(os.path.join(directory, CONFIG), "w", encoding="utf-8") as stream:
        stream.write(config.to_json() + "\n")


def identify(params: Mapping, tuned: str = "") -> Identity:
    """Which backbone it is, whatever file it was read from; every process must ask.

    Args:
        params: nested dict of parameters.
        tuned: pattern of the backbone's parameters that train, which are left out.
    """
    flat = {
        path: leaf for path, leaf in flat_backbone(params).items() if not re.fullmatch(tuned, path)
    }
    found = fingerprints.of_leaves(flat)
    sums = {
        tensor: sums
        for path, leaf in flat.items()
        for tensor, sums in zip(tensor_names(path, leaf.shape), found[path], strict=True)
    }
    shapes = tensor_shapes(flat)
    return fingerprints.identity((name, shapes[name], sums[name]) for name in sums)


def fingerprint(params: Mapping, tuned: str = "") -> str:
    """Only the fingerprint of `identify`: a copy in bfloat16 has that of its original."""
    return identify(params, tuned).fingerprint


def identify_weights(weights: Weights) -> Identity:
    """As `identify`, of weights in a file, of which one tensor at a time is in memory.

    Raises:
        UserError: a tensor cannot be read, or holds values that are not finite.
    """
    found = []
    for name, tensor in weights.tensors.items():
        sums = fingerprints.of_values(tensor.whole())
        if not sums.finite:
            raise not_finite(weights, name)
        found.append((name, tensor.shape, sums))
    return fingerprints.identity(found)


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
