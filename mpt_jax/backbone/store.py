"""Our own backbone format: a folder with `model.safetensors` (T5X's names) and `config.json`."""

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from mpt_jax.backbone.config import T5Config
from mpt_jax.errors import UserError, did_you_mean

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
BACKBONE_TREES = ("encoder", "decoder", "token_embedder")


def save(directory: str, params: Mapping, config: T5Config, dtype: str = "float32") -> None:
    """Write the backbone part of `params` and its config, each file atomically.

    Args:
        directory: made where it is missing.
        params: nested dict of parameters; only `BACKBONE_TREES` are written.
        config: its sizes.
        dtype: of the stored weights, "float32" or "bfloat16" (half the size).
    """
    os.makedirs(directory, exist_ok=True)
    tensors = {
        name: np.asarray(jnp.asarray(leaf, dtype)) for name, leaf in _flat_backbone(params).items()
    }
    weights, settings = os.path.join(directory, WEIGHTS), os.path.join(directory, CONFIG)
    safetensors.numpy.save_file(tensors, weights + ".tmp")
    with open(settings + ".tmp", "w", encoding="utf-8") as out:
        out.write(config.to_json() + "\n")
    os.replace(weights + ".tmp", weights)
    os.replace(settings + ".tmp", settings)


def load(path: str, shapes: Mapping, shardings: Mapping, dtype: str = "float32") -> dict:
    """Read a backbone, tensor by tensor, each device taking only its own slice.

    Args:
        path: the backbone's folder.
        shapes: nested dict of `jax.ShapeDtypeStruct` that the network expects.
        shardings: the same tree with a `jax.sharding.Sharding` per leaf.
        dtype: of the parameters in memory.

    Returns:
        nested dict of global arrays.

    Raises:
        UserError: no such folder, truncated or corrupted file, a missing, extra or misshapen
            tensor (named).
    """
    file = os.path.join(path, WEIGHTS)
    if not os.path.isfile(file):
        raise UserError(
            f"INITIAL_CHECKPOINT_PATH {path!r} is no backbone folder: it has no {WEIGHTS}."
        )
    expected = traverse_util.flatten_dict(shapes, sep="/")
    layout = traverse_util.flatten_dict(shardings, sep="/")
    try:
        with safetensors.safe_open(file, framework="np") as handle:
            _check_tensors(file, handle, expected)
            loaded = {
                name: _read(handle, name, expected[name].shape, layout[name], dtype)
                for name in expected
            }
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{file} is truncated or corrupted ({error}): copy it again.") from error
    return traverse_util.unflatten_dict(loaded, sep="/")


def fingerprint(params: Mapping) -> str:
    """16 hex digits that tell one backbone from another, whatever file it was read from.

    Hashes each parameter's name, shape and 16 evenly spaced values rounded to bfloat16, so a copy
    stored in bfloat16 has the fingerprint of its float32 original, and nothing large is fetched.
    """
    digest = hashlib.sha256()
    flat = _flat_backbone(params)
    samples = jax.device_get(_samples(flat))
    for name in sorted(flat):
        digest.update(f"{name}{tuple(flat[name].shape)}".encode())
        digest.update(samples[name].tobytes())
    return digest.hexdigest()[:16]


@jax.jit  # compiled once: every saved prompt file asks for the fingerprint
def _samples(flat: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return jax.tree.map(_sample, flat)


def _sample(leaf: jax.Array) -> jax.Array:
    stride = max(1, leaf.size // 16)
    return leaf.reshape(-1)[: 16 * stride : stride].astype(jnp.bfloat16)


def _flat_backbone(params: Mapping) -> dict[str, Any]:
    trees = {name: params[name] for name in BACKBONE_TREES}
    return traverse_util.flatten_dict(trees, sep="/")


def _check_tensors(file: str, handle: Any, expected: Mapping) -> None:
    names = set(handle.keys())
    for name in sorted(expected.keys() - names):
        raise UserError(f"{file} lacks the tensor {name!r}.{did_you_mean(name, names)}")
    for name in sorted(names - expected.keys()):
        raise UserError(
            f"{file} holds an extra tensor {name!r}: the model gin does not describe this "
            f"backbone (see {CONFIG} beside it)."
        )
    for name, leaf in expected.items():
        shape = tuple(handle.get_slice(name).get_shape())
        if shape != tuple(leaf.shape):
            raise UserError(
                f"{file}: tensor {name!r} has shape {shape}, the model gin asks for "
                f"{tuple(leaf.shape)} (see {CONFIG} beside it)."
            )


def _read(handle: Any, name: str, shape: tuple, sharding: Any, dtype: str) -> jax.Array:
    tensor = handle.get_slice(name)
    return jax.make_array_from_callback(
        shape, sharding, lambda index: np.asarray(tensor[index]).astype(dtype)
    )
