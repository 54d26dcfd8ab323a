"""Our own backbone format: a folder with `model.safetensors` (T5X's names) and `config.json`."""

import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from mpt_jax import files, hosts
from mpt_jax.backbone.config import T5Config
from mpt_jax.errors import UserError, did_you_mean

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
        name: np.asarray(leaf, dtype) for name, leaf in _by_layer(_flat_backbone(params)).items()
    }
    content = safetensors.numpy.save(tensors, metadata=dict(header) if header else None)
    files.write_whole(os.path.join(directory, WEIGHTS), content)
    files.write_whole(os.path.join(directory, CONFIG), config.to_json() + "\n")


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
                name: _read(handle, name, leaf.shape, layout[name], dtype)
                for name, leaf in expected.items()
            }
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{file} is truncated or corrupted ({error}): copy it again.") from error
    return traverse_util.unflatten_dict(loaded, sep="/")


def fingerprint(params: Mapping, tuned: str = "") -> str:
    """16 hex digits that tell one backbone from another, whatever file it was read from.

    Hashes each parameter's name, shape and 16 evenly spaced values rounded to bfloat16, so a copy
    stored in bfloat16 has the fingerprint of its float32 original, and nothing large is fetched.

    Args:
        params: nested dict of parameters.
        tuned: pattern of the backbone's parameters that train, which are left out.
    """
    digest = hashlib.sha256()
    flat = {
        path: leaf for path, leaf in _flat_backbone(params).items() if not re.fullmatch(tuned, path)
    }
    shapes = _tensor_shapes(flat)
    samples = hosts.fetch(_samples(flat))
    for name in sorted(samples):
        digest.update(f"{name}{shapes[name]}".encode())
        digest.update(samples[name].tobytes())
    return digest.hexdigest()[:16]


@jax.jit  # compiled once: every saved prompt file asks for the fingerprint
def _samples(flat: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return jax.tree.map(_sample, _by_layer(flat))


def _sample(leaf: jax.Array) -> jax.Array:
    stride = max(1, leaf.size // 16)
    return leaf.reshape(-1)[: 16 * stride : stride].astype(jnp.bfloat16)


def _flat_backbone(params: Mapping) -> dict[str, Any]:
    trees = {name: params[name] for name in BACKBONE_TREES}
    return traverse_util.flatten_dict(trees, sep="/")


def _tensor_names(name: str, shape: tuple[int, ...]) -> list[str]:
    """Names in a file of a parameter: itself, or one per layer where a scan has stacked them."""
    stack, layers, rest = name.partition("/layers/")
    return [f"{stack}/layers_{i}/{rest}" for i in range(shape[0])] if layers else [name]


def _tensor_shapes(flat: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """{name in a file: shape} for parameters, or their shapes, by name."""
    return {
        tensor: tuple(leaf.shape) if tensor == name else tuple(leaf.shape[1:])
        for name, leaf in flat.items()
        for tensor in _tensor_names(name, leaf.shape)
    }


def _by_layer(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{name in a file: array} for parameters by name."""
    return {
        tensor: leaf if tensor == name else leaf[i]
        for name, leaf in flat.items()
        for i, tensor in enumerate(_tensor_names(name, leaf.shape))
    }


def _check_tensors(file: str, handle: Any, parameters: Mapping) -> None:
    expected, names = _tensor_shapes(parameters), set(handle.keys())
    for name in sorted(expected.keys() - names):
        raise UserError(f"{file} lacks the tensor {name!r}.{did_you_mean(name, names)}")
    for name in sorted(names - expected.keys()):
        raise UserError(
            f"{file} holds an extra tensor {name!r}: the model gin does not describe this "
            f"backbone (see {CONFIG} beside it)."
        )
    for name, wanted in expected.items():
        shape = tuple(handle.get_slice(name).get_shape())
        if shape != wanted:
            raise UserError(
                f"{file}: tensor {name!r} has shape {shape}, the model gin asks for {wanted} "
                f"(see {CONFIG} beside it)."
            )


def _read(handle: Any, name: str, shape: tuple, sharding: Any, dtype: str) -> jax.Array:
    tensors = [handle.get_slice(tensor) for tensor in _tensor_names(name, shape)]

    def part(index: tuple[slice, ...]) -> np.ndarray:
        if len(tensors) == 1 and len(tensors[0].get_shape()) == len(shape):
            return np.asarray(tensors[0][index]).astype(dtype)
        layers, within = index[0], index[1:]
        return np.stack([np.asarray(t[within]).astype(dtype) for t in tensors[layers]])

    return jax.make_array_from_callback(shape, sharding, part)
