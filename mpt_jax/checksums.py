"""Checksums of what we write: of the tensors and the header of a safetensors file, and of JSON.

CRC-32, which notices any change of up to 32 bits in a row, at about 1.3 GB/s of one core. They
travel in the file itself: files that others wrote, and ours of before, have none and are taken as
they are.
"""

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mpt_jax.errors import UserError

if TYPE_CHECKING:
    import numpy as np

KEY = "mpt_jax.checksums"  # in the free-form part of a safetensors header
FIELD = "checksum"  # in a JSON object
_BLOCK = 2**23  # bytes under one checksum, so that a part of a large tensor can be verified
_DIGITS = 8  # of one, as hexadecimal

Described = Mapping[str, tuple[str, tuple[int, ...]]]  # tensor -> dtype, shape


def blocks(shape: tuple[int, ...], itemsize: int) -> Iterator[slice]:
    """The rows under one checksum each: about `_BLOCK` bytes, and never none."""
    row = max(1, math.prod(shape[1:])) * itemsize
    step, end = max(1, _BLOCK // row), shape[0] if shape else 1
    return (slice(start, min(start + step, end)) for start in range(0, max(1, end), step))


def of(values: "np.ndarray") -> str:
    """The checksum of a block, `_DIGITS` characters."""
    import numpy as np  # JSON is checked without it

    content = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    return f"{zlib.crc32(content.data):0{_DIGITS}x}"


def of_tensor(values: "np.ndarray") -> str:
    """The checksums of all its blocks, one after the other."""
    rows = values if values.ndim else values[None]
    return "".join(of(rows[part]) for part in blocks(values.shape, values.itemsize))


def length(shape: tuple[int, ...], itemsize: int) -> int:
    """The characters that `of_tensor` needs."""
    return _DIGITS * sum(1 for _ in blocks(shape, itemsize))


def block(sums: str, number: int) -> str:
    """The checksum of one block among those of a tensor."""
    return sums[_DIGITS * number : _DIGITS * (number + 1)]


def entry(described: Described, metadata: Mapping[str, str], sums: Mapping[str, str]) -> str:
    """What to write under `KEY`: the tensors' checksums, and one of all else in the header."""
    return json.dumps({"header": _of_header(described, metadata, sums), "tensors": dict(sums)})


def read(described: Described, metadata: Mapping[str, str]) -> dict[str, str]:
    """The checksums of a file's tensors by name; none where the file carries none.

    Raises:
        ValueError: its header is not the one that was written.
    """
    if KEY not in metadata:
        return {}
    try:
        found = json.loads(metadata[KEY])
        sums = {str(name): str(text) for name, text in found["tensors"].items()}
        others = {name: text for name, text in metadata.items() if name != KEY}
        whole = found["header"] == _of_header(described, others, sums)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole or sums.keys() != described.keys():
        raise ValueError("its header does not have the checksum that was written with it")
    return sums


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its checksum in it."""
    return {**values, FIELD: _of_json(values)}


def unsealed(place: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object without its checksum, which is compared if there is one.

    Raises:
        UserError: it differs.
    """
    others = {name: value for name, value in values.items() if name != FIELD}
    if FIELD in values and values[FIELD] != _of_json(others):
        raise UserError(
            f"{place} is not as it was written: its checksum differs. Copy it again; if you have "
            f'changed it on purpose, remove "{FIELD}" from it.'
        )
    return others


def _of_header(described: Described, metadata: Mapping[str, str], sums: Mapping[str, str]) -> str:
    tensors = [[name, dtype, list(shape)] for name, (dtype, shape) in sorted(described.items())]
    return _of_json([tensors, dict(metadata), dict(sums)])


def _of_json(values: Any) -> str:
    text = json.dumps(values, sort_keys=True)
    return f"{zlib.crc32(text.encode()):0{_DIGITS}x}"
