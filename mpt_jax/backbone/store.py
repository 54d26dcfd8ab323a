"""Our own backbone format: a folder with `model.safetensors` (T5X's names) and `config.json`."""

import dataclasses
import functools
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from mpt_jax import files
from mpt_jax.backbone import fingerprints, tensor_file
from mpt_jax.backbone.config import T5Config
from mpt_jax.backbone.fingerprints import Identity
from mpt_jax.backbone.tensor_file import Tensor
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
    """Write the backbone part of `params` and its config; errors as `write`.

    Args:
        directory: made where it is missing.
        params: nested dict of parameters, whole on this host; only `BACKBONE_TREES` are written.
        config: its sizes.
        dtype: of the stored weights, "float32" or "bfloat16" (half the size).
        header: texts to write into the weights' file with the tensors.
    """
    tensors = {
        tensor: Tensor.of(np.asarray(leaf if tensor == name else leaf[i])).cast(dtype)
        for name, leaf in flat_backbone(params).items()
        for i, tensor in enumerate(tensor_names(name, leaf.shape))
    }
    write(directory, tensors, config, header, setting="MODEL_DIR")


def write(
    directory: str,
    tensors: Mapping[str, Tensor],
    config: T5Config,
    header: Mapping[str, str] | None = None,
    *,
    setting: str | None = None,
) -> None:
    """Write a backbone and its config, as one, holding one tensor at a time in memory.

    Args:
        directory: made where it is missing.
        tensors: by T5X's name, one per layer.
        config: its sizes.
        header: texts to write into the weights' file with the tensors.
        setting: as in `files.write_together`.

    Raises:
        UserError: the files cannot be written, or a tensor cannot be read.
    """
    path, config_path = os.path.join(directory, WEIGHTS), os.path.join(directory, CONFIG)
    content = functools.partial(tensor_file.write, tensors=tensors, metadata=header)
    files.write_together({config_path: _text(config), path: content}, setting=setting)


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
    fields = files.read_json(config)
    return dataclasses.asdict(T5Config.from_fields(fields))


def write_config(directory: str, config: T5Config) -> None:
    """Write only the config.json that `stated_in` reads (UserError: it cannot be written)."""
    files.write_whole(os.path.join(directory, CONFIG), _text(config))


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


def _text(config: T5Config) -> str:
    return config.to_json() + "\n"
