"""Safetensors files, read and written one tensor at a time."""

import json
import os
from collections.abc import Mapping

import numpy as np
import safetensors

from mpt_jax.backbone.weights import Index, Tensor
from mpt_jax.errors import UserError

_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_CODES = {name: code for code, name in _DTYPES.items()}


def tensors_of(file: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors of `file` by name; only its header is read now.

    Raises:
        UserError: it is no safetensors file, or truncated.
    """
    file = os.fspath(file)
    tensors = {}
    try:
        with safetensors.safe_open(file, framework="np") as handle:
            for name in handle.keys():  # noqa: SIM118 a handle is no dict
                part = handle.get_slice(name)
                dtype = _DTYPES.get(part.get_dtype(), part.get_dtype())
                tensors[name] = Tensor(tuple(part.get_shape()), dtype, _reader(file, name))
    except (safetensors.SafetensorError, OSError) as error:
        raise broken(file, error) from error
    return tensors


def _reader(file: str, name: str):
    def read(index: Index) -> np.ndarray:
        # Opened anew for each part: what an open file has mapped counts as this process's memory.
        try:
            with safetensors.safe_open(file, framework="np") as handle:
                return np.asarray(handle.get_slice(name)[index])
        except (safetensors.SafetensorError, OSError) as error:
            raise broken(file, error) from error

    return read


def write(
    file: str | os.PathLike, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Writes a safetensors file, holding one tensor at a time in memory.

    Args:
        file: the path.
        tensors: by name, each of one of `weights.DTYPES`.
        metadata: texts of its header.

    Raises:
        OSError: it cannot be written.
        UserError: a tensor cannot be read.
    """
    header, end = {"__metadata__": dict(metadata)}, 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": _CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(file, "wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            values = np.ascontiguousarray(tensor.whole())
            stream.write(values.reshape(-1).view(np.uint8).data)


def broken(file: str, error: Exception) -> UserError:
    """The message about a file that cannot be read as what its name says."""
    return UserError(f"{file} is truncated or corrupted ({error}): copy it again.")
