"""T5X's first checkpoints: `checkpoint_<step>/checkpoint`, a msgpack tree, next to zarr arrays.

Both modes of today's T5X read them, where orbax's are read by one; they are written one array at a
time, and every host reads its slices of them. So this is the layout that is written.
"""

import math
import os
from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np
import tensorstore
from flax import traverse_util

from mpt_jax.backbone.formats import t5x_arrays, t5x_msgpack, t5x_scalable
from mpt_jax.backbone.weights import DTYPES, Index, Tensor, Weights
from mpt_jax.errors import UserError

FILE = "checkpoint"
_VERSION = 3
_SPEC = frozenset({"driver", "kvstore", "metadata"})  # keys of a map that describes a zarr array
_LARGEST_CHUNK = 2**26  # bytes; T5X's own are up to 64 MB


def open_weights(folder: str, file: str = FILE) -> Weights:
    """The backbone of a checkpoint; see `t5x_arrays.backbone_of` for what is ignored.

    Args:
        folder: the checkpoint's, or that of a checkpoint which is a single file.
        file: the tree.

    Raises:
        UserError: a broken checkpoint, or one without a T5.
    """
    place = os.path.join(folder, file)
    tensors, specs = {}, {}
    with t5x_arrays.open_stream(folder, file) as stream:
        try:
            leaves = t5x_msgpack.leaves(stream, _SPEC)
            for name, span in t5x_arrays.backbone_of(place, leaves).items():
                if (inside := t5x_msgpack.array(stream, span)) is not None:
                    tensors[name] = _tensor(folder, file, *inside)
                else:
                    specs[name] = _spec(folder, place, t5x_msgpack.decode(stream, span))
        except (ValueError, msgpack.UnpackException, RecursionError, OSError) as error:
            raise _broken(place, error) from error
    return Weights(place, {**tensors, **t5x_arrays.open_arrays(place, specs)})


def write(directory: str, weights: Weights, step: int) -> None:
    """Writes a checkpoint of only the weights, one tensor at a time.

    Raises:
        OSError: the files cannot be written.
        UserError: a tensor cannot be read.
    """
    specs = {}
    for name, layers in t5x_scalable.together(weights.tensors).items():
        array, stacked = f"target.{name.replace('/', '.')}", t5x_scalable.is_stacked(name)
        spec = _written(array, layers, stacked)
        specs[f"target/{name}"] = spec
        at = {**spec, "kvstore": t5x_arrays.kvstore(directory, array)}
        try:
            out = tensorstore.open(at, create=True).result()
            for i, layer in enumerate(layers):
                (out[:, i] if stacked else out).write(layer.whole()).result()
        except ValueError as error:  # tensorstore's, for a full disk too
            raise OSError(str(error)) from error
    tree = {**traverse_util.unflatten_dict(specs, sep="/"), "state": {"step": _packed(step)}}
    with open(os.path.join(directory, FILE), "wb") as stream:
        stream.write(msgpack.packb({"version": _VERSION, "optimizer": tree}))


def _written(array: str, layers: Sequence[Tensor], stacked: bool) -> dict[str, Any]:
    """Tensorstore's description of a new array, of one tensor or of all layers'."""
    tensor = layers[0]
    rows = min(tensor.shape[0], max(1, _LARGEST_CHUNK // max(1, tensor.nbytes // tensor.shape[0])))
    first, *rest = tensor.shape
    dtype = tensor.dtype if len({layer.dtype for layer in layers}) == 1 else "float32"
    return {
        "driver": "zarr",
        "dtype": dtype,
        "kvstore": {"driver": "file", "path": array},
        "metadata": {
            "shape": [first, len(layers), *rest] if stacked else [first, *rest],
            "chunks": [rows, 1, *rest] if stacked else [rows, *rest],
            "compressor": {"id": "gzip", "level": 1},
            "dtype": _ZARR[dtype],
        },
    }


_ZARR = {"float32": "<f4", "float16": "<f2", "bfloat16": "bfloat16"}


def _packed(step: int) -> msgpack.ExtType:
    """A scalar array as flax.serialization packs it."""
    content = np.int32(step).tobytes()
    return msgpack.ExtType(t5x_msgpack.ARRAY, msgpack.packb(((), "int32", content)))


def _tensor(
    folder: str, file: str, shape: tuple[int, ...], dtype: str, span: t5x_msgpack.Span
) -> Tensor:
    """An array within the tree's own file."""
    start, end = span
    if dtype in DTYPES and math.prod(shape) * np.dtype(dtype).itemsize != end - start:
        raise ValueError("an array whose bytes do not fit its shape")

    def read(index: Index) -> np.ndarray:
        rows = range(*index[0].indices(shape[0]))
        row = math.prod(shape[1:]) * np.dtype(dtype).itemsize
        with t5x_arrays.open_stream(folder, file) as stream:
            stream.seek(start + rows.start * row)
            content = stream.read(len(rows) * row)
        if len(content) < len(rows) * row:
            raise _broken(os.path.join(folder, file), ValueError("truncated"))
        there = np.frombuffer(content, dtype).reshape(len(rows), *shape[1:])
        return there[(slice(None), *index[1:])]

    return Tensor(shape, dtype, read)


def _spec(folder: str, place: str, value: Any) -> dict[str, Any]:
    """Tensorstore's description of the zarr array that a leaf names, by whatever driver it was."""
    if not isinstance(value, dict) or value.get("driver") != "zarr":
        raise ValueError(f"a leaf that is not an array: {value!r:.80}")
    store = value["kvstore"]
    path = store.get("path", value.get("path")) if isinstance(store, dict) else None
    array = t5x_arrays.check_name(place, str(path).rstrip("/"))
    return {"driver": "zarr", "kvstore": t5x_arrays.kvstore(folder, array)}


def _broken(place: str, error: Exception) -> UserError:
    return UserError(f"{place} is not a T5X checkpoint, or is truncated ({error}): copy it again.")
