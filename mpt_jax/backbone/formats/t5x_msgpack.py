"""Where the leaves of a msgpack tree lie in its file, found without reading what they hold.

flax.serialization writes an array as extension 1 around [shape, name of the dtype, bytes in C
order]; a checkpoint may be one such file of many gigabytes, of which the optimizer's part is not
wanted.
"""

from collections.abc import Set
from typing import Any, BinaryIO

import msgpack

ARRAY = 1  # the extension's number
Span = tuple[int, int]  # first byte, and the one after the last

_DEEPEST = 32  # levels of a tree
_LARGEST = 2**20  # bytes of what is decoded whole: descriptions, shapes

# First byte -> (kind, bytes of its length field); what is not here is a number or shorter.
_SIZED = {
    **{0xC4 + i: ("bin", 2**i) for i in range(3)},
    **{0xC7 + i: ("ext", 2**i) for i in range(3)},
    **{0xD9 + i: ("str", 2**i) for i in range(3)},
    **{0xDC + i: ("array", 2 ** (i + 1)) for i in range(2)},
    **{0xDE + i: ("map", 2 ** (i + 1)) for i in range(2)},
}
_FIXED = {
    0xCA: 4,
    0xCB: 8,
    **{0xCC + i: 2**i for i in range(4)},
    **{0xD0 + i: 2**i for i in range(4)},
}


def leaves(stream: BinaryIO, whole: Set[str]) -> dict[tuple[str, ...], Span]:
    """{keys from the root: where the value lies} for a file that holds a map of maps.

    Args:
        stream: the file, at its start.
        whole: a map with these keys is a leaf.

    Raises:
        ValueError: it is not such a file, or truncated.
    """
    found: dict[tuple[str, ...], Span] = {}
    _walk(stream, (), whole, found)
    end = stream.tell()
    if stream.seek(0, 2) != end or () in found:
        raise ValueError("truncated, or no map")
    return found


def decode(stream: BinaryIO, span: Span) -> Any:
    """The small value at `span`.

    Raises:
        ValueError: it is large or malformed.
    """
    if span[1] - span[0] > _LARGEST:
        raise ValueError("a description too long")
    stream.seek(span[0])
    return msgpack.unpackb(_take(stream, span[1] - span[0]))


def array(stream: BinaryIO, span: Span) -> tuple[tuple[int, ...], str, Span] | None:
    """(shape, dtype's name, where the bytes lie) of the leaf at `span`; None: no array.

    Raises:
        ValueError: it is malformed.
    """
    stream.seek(span[0])
    kind, _ = _head(stream)
    if kind != "ext" or _take(stream, 1)[0] != ARRAY:
        return None
    if _head(stream) != ("array", 3):
        raise ValueError("an array of another form")
    parts = []
    for _ in range(3):
        start = stream.tell()
        kind = _skip(stream, 0)
        parts.append((start, stream.tell()))
    if kind != "bin" or parts[2][1] != span[1]:
        raise ValueError("an array of another form")
    shape, dtype = decode(stream, parts[0]), decode(stream, parts[1])
    if not isinstance(dtype, str) or not isinstance(shape, list):
        raise ValueError("an array of another form")
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError("an array of another form")
    stream.seek(parts[2][0])
    _head(stream)
    return tuple(shape), dtype, (stream.tell(), span[1])


def _walk(stream: BinaryIO, path: tuple[str, ...], whole: Set[str], found: dict) -> None:
    start = stream.tell()
    kind, size = _head(stream)
    if kind != "map":
        stream.seek(start)
        _skip(stream, len(path))
        found[path] = (start, stream.tell())
        return
    if len(path) > _DEEPEST:
        raise ValueError("nested too deeply")
    inside: dict[tuple[str, ...], Span] = {}
    keys = set()
    for _ in range(size):
        kind, length = _head(stream)
        if kind != "str" or length > _LARGEST:
            raise ValueError("a key that is not text")
        key = _take(stream, length).decode()
        keys.add(key)
        _walk(stream, (*path, key), whole, inside)
    found.update({path: (start, stream.tell())} if whole <= keys else inside)


def _skip(stream: BinaryIO, depth: int) -> str:
    """Moves behind the next value; returns its kind."""
    kind, size = _head(stream)
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if kind in ("array", "map"):
        for _ in range(size * (2 if kind == "map" else 1)):
            _skip(stream, depth + 1)
    else:
        stream.seek(size + (kind == "ext"), 1)
    return kind


def _head(stream: BinaryIO) -> tuple[str, int]:
    """Kind of the next value, and its length: entries of a map or array, bytes of the others."""
    first = _take(stream, 1)[0]
    if first in _SIZED:
        kind, count = _SIZED[first]
        return kind, int.from_bytes(_take(stream, count), "big")
    if 0x80 <= first < 0xC0:
        kind = "map" if first < 0x90 else "array" if first < 0xA0 else "str"
        return kind, first & (0x1F if kind == "str" else 0x0F)
    if 0xD4 <= first <= 0xD8:
        return "ext", 2 ** (first - 0xD4)
    return "other", _FIXED.get(first, 0)


def _take(stream: BinaryIO, count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise ValueError("truncated")
    return content
