"""Safetensors files, with checksums, read and written one tensor at a time; without jax."""

import dataclasses
import io
import json
import math
import os
from collections.abc import Callable, Mapping
from typing import BinaryIO

import ml_dtypes  # noqa: F401 - numpy's bfloat16
import numpy as np
import safetensors

from mpt_jax import checksums
from mpt_jax.errors import UserError

_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_CODES = {name: code for code, name in _DTYPES.items()}
DTYPES = tuple(_CODES)  # of weights in a file

Index = tuple[slice, ...]


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor in a file.

    Attributes:
        shape: as the network has it.
        dtype: its name; one that is not in `DTYPES` is refused before anything is read.
        read: the part at an index, one slice per dimension, in that dtype. Raises `UserError`
            where the file is broken.
        chunks: shape of what is stored together, where a part costs as much as the whole of it.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[Index], np.ndarray]
    chunks: tuple[int, ...] | None = None

    @classmethod
    def of(cls, values: np.ndarray) -> "Tensor":
        """One in memory."""
        return cls(values.shape, values.dtype.name, lambda index: values[index])

    @property
    def nbytes(self) -> int:
        """Its size, whole."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def whole(self) -> np.ndarray:
        """All of it."""
        return self.read((slice(None),) * len(self.shape))

    def transposed(self) -> "Tensor":
        """The same matrix with its two dimensions exchanged."""
        chunks = self.chunks and self.chunks[::-1]
        return Tensor(self.shape[::-1], self.dtype, lambda i: self.read(i[::-1]).T, chunks)

    def cast(self, dtype: str) -> "Tensor":
        """The same tensor rounded to `dtype` as it is read."""
        read = self.read
        return dataclasses.replace(
            self, dtype=dtype, read=lambda index: read(index).astype(dtype, copy=False)
        )


def open_file(file: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of `file` by name, and the texts of its header; only the header is read now.

    Where the file carries checksums, the header is held against its own now, and what is read of a
    tensor against the tensor's.

    Raises:
        UserError: it is not a safetensors file, or is truncated or damaged.
    """
    file = os.fspath(file)
    described = {}
    try:
        with safetensors.safe_open(file, framework="np") as handle:
            metadata = handle.metadata() or {}
            for name in handle.keys():  # noqa: SIM118 a handle is not a dict
                part = handle.get_slice(name)
                described[name] = (part.get_dtype(), tuple(part.get_shape()))
        sums = checksums.read(described, metadata)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise broken(file, error) from error
    tensors = {
        name: Tensor(shape, _DTYPES.get(code, code), _reader(file, name, sums.get(name)))
        for name, (code, shape) in described.items()
    }
    return tensors, metadata


def _reader(file: str, name: str, sums: str | None) -> Callable[[Index], np.ndarray]:
    verified: set[int] = set()  # blocks; each is held against its checksum once

    def verify(index: Index, part: "safetensors.PySafeSlice") -> None:
        shape = tuple(part.get_shape())
        wanted = range(*index[0].indices(shape[0])) if index else range(1)
        itemsize = np.dtype(_DTYPES[part.get_dtype()]).itemsize
        for number, rows in enumerate(checksums.blocks(shape, itemsize)):
            if number in verified or rows.stop <= wanted.start or rows.start >= wanted.stop:
                continue
            values = np.asarray(part[rows] if shape else part[...])
            if checksums.of(values) != checksums.block(sums, number):
                raise ValueError(f"the checksum of {name!r} differs")
            verified.add(number)

    def read(index: Index) -> np.ndarray:
        # Opened again for each part: what an open file has mapped counts as this process's memory.
        try:
            with safetensors.safe_open(file, framework="np") as handle:
                part = handle.get_slice(name)
                if sums is not None:
                    verify(index, part)
                return np.asarray(part[index])
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise broken(file, error) from error

    return read


def content_of(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of a small file by name, and the texts of its header; all checksums compared.

    Raises:
        SafetensorError: truncated or damaged.
        ValueError: a checksum differs, or a dtype that numpy lacks.
    """
    described, arrays = {}, {}
    for name, found in safetensors.deserialize(content):
        if found["dtype"] not in _DTYPES:
            raise ValueError(f"{name!r} is {found['dtype']}, not one of {', '.join(_DTYPES)}")
        shape = tuple(found["shape"])
        described[name] = (found["dtype"], shape)
        values = np.frombuffer(found["data"], _DTYPES[found["dtype"]])
        arrays[name] = values.reshape(shape)
    size = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + size]).get("__metadata__") or {}
    for name, sums in checksums.read(described, metadata).items():
        if checksums.of_tensor(arrays[name]) != sums:
            raise ValueError(f"the checksum of {name!r} differs")
    return arrays, metadata


def write(
    stream: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a safetensors file with checksums, holding one tensor at a time in memory.

    Args:
        stream: at its start; can be sought.
        tensors: by name, each of one of `DTYPES`.
        metadata: texts of its header.

    Raises:
        OSError: it cannot be written.
        UserError: a tensor cannot be read.
    """
    described = {name: (_CODES[t.dtype], t.shape) for name, t in sorted(tensors.items())}
    blank = {
        name: "0" * checksums.length(t.shape, np.dtype(t.dtype).itemsize)
        for name, t in sorted(tensors.items())
    }
    text = _header(described, tensors, metadata or {}, blank)
    stream.write(text)
    sums = {}
    for name in described:
        values = np.ascontiguousarray(tensors[name].whole())
        sums[name] = checksums.of_tensor(values)
        stream.write(values.reshape(-1).view(np.uint8).data)
    # As long as the first: the checksums, which are known now, have a fixed width.
    stream.seek(0)
    stream.write(_header(described, tensors, metadata or {}, sums))
    stream.seek(0, os.SEEK_END)


def to_bytes(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> bytes:
    """The same for arrays in memory."""
    stream = io.BytesIO()
    write(stream, {name: Tensor.of(values) for name, values in arrays.items()}, metadata)
    return stream.getvalue()


def _header(
    described: checksums.Described,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    sums: Mapping[str, str],
) -> bytes:
    texts = {**metadata, checksums.KEY: checksums.entry(described, metadata, sums)}
    header, end = {"__metadata__": texts}, 0
    for name, (code, shape) in described.items():
        start, end = end, end + tensors[name].nbytes
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def broken(file: str, error: Exception) -> UserError:
    """The message about a file that cannot be read as what its name says."""
    return UserError(f"{file} is truncated or corrupted ({error}): copy it again.")
