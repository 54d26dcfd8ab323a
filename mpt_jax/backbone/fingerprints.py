"""What tells one backbone from another: sums over every bit of its values.

Each value counts with odd weights drawn from its row and its column, modulo 2^32. So no change of a
single value passes, and parts add up in any order: however the weights lie on devices, or come out
of files, the sums are the same.
"""

import functools
import hashlib
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mpt_jax import hosts

_BLOCK = 2**15  # values that are summed at a time on a CPU
_INFINITE = 0x7F80  # and above it, without the sign: infinity and NaN in bfloat16's bits


class Identity(NamedTuple):
    """Which backbone it is.

    Attributes:
        fingerprint: 16 hex digits, of the values rounded to bfloat16: the same for a copy that is
            stored in bfloat16.
        bits: 16 hex digits, of the bits that this rounds away; "" where there are none.
    """

    fingerprint: str
    bits: str


class Sums(NamedTuple):
    """What was summed over one tensor.

    Attributes:
        rounded: two numbers, of the values rounded to bfloat16.
        rest: two numbers, of the 16 lower bits of the values in float32; zeros where they are
            bfloat16's.
        finite: whether all values are finite.
    """

    rounded: tuple[int, int]
    rest: tuple[int, int]
    finite: bool


def identity(tensors: Iterable[tuple[str, tuple[int, ...], Sums]]) -> Identity:
    """The identity of a backbone from the names, shapes and sums of its tensors, one per layer."""
    ordered = sorted(tensors)
    rounded = [(name, shape, sums.rounded) for name, shape, sums in ordered]
    rest = [(name, shape, sums.rest) for name, shape, sums in ordered if any(sums.rest)]
    return Identity(_digest(rounded), _digest(rest) if rest else "")


def of_leaves(leaves: Mapping[str, jax.Array | np.ndarray]) -> dict[str, list[Sums]]:
    """The sums of parameters in memory, by name: one, or of stacked layers one for each.

    Computed where the parameters lie, and once for each: those of a backbone do not change. Every
    process must ask.
    """
    # The leaves themselves are held, or a new one might get the id of one that is gone.
    asked = {name: (leaf, _known.get(id(leaf))) for name, leaf in leaves.items()}
    found = {}
    for name, (leaf, known) in asked.items():
        sums = known[1] if known else _of_leaf(leaf, "/layers/" in name)
        if isinstance(leaf, jax.Array) and not known:  # an array of numpy could be written to
            key = id(leaf)
            _known[key] = (weakref.ref(leaf, functools.partial(_forget, key)), sums)
        found[name] = sums
    return found


def of_values(values: np.ndarray) -> Sums:
    """The sums of one tensor read from a file, [D] or [D, F] in float32, bfloat16 or float16."""
    matrix = np.atleast_2d(values)
    return _read(_of_matrix(matrix, *_weights(matrix.shape)))


_known: dict[int, tuple[weakref.ref, list[Sums]]] = {}  # by the id of an array, while it lives


def _forget(key: int, _: Any) -> None:
    _known.pop(key, None)


def _of_leaf(leaf: jax.Array | np.ndarray, stacked: bool) -> list[Sums]:
    if not isinstance(leaf, jax.Array):
        return [of_values(layer) for layer in (leaf if stacked else leaf[None])]
    layers = leaf.shape[0] if stacked else 1
    matrix = (1, *leaf.shape[stacked:])[-2:]
    weights = _weights(matrix)
    if all(device.platform == "cpu" for device in leaf.devices()):  # XLA is slow at this there
        totals = np.zeros((layers, 5), np.uint32)
        for shard in leaf.addressable_shards:
            if not shard.replica_id:
                _add_shard(totals, shard, stacked, weights)
        totals = totals if leaf.is_fully_addressable else hosts.total(totals)
    else:
        totals = hosts.fetch(_on_device(leaf, (layers, *matrix), weights))
    return [_read(row) for row in totals]


def _add_shard(totals: np.ndarray, shard: Any, stacked: bool, weights: Any) -> None:
    """Adds what one device of a CPU holds to the `totals` [layers, 5] of an array."""
    data, index = np.asarray(shard.data), shard.index
    layers = range(len(totals))[index[0]] if stacked else [0]
    at = (slice(None), *index[stacked:])[-2:]
    parts = [weight[:, part] for weight, part in zip(weights, at, strict=True)]
    for layer, values in zip(layers, data if stacked else [data], strict=True):
        totals[layer] += _of_matrix(np.atleast_2d(values), *parts)


def _of_matrix(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """[5] uint32 of values [D, F] of a larger matrix, whose weights [2, D] and [2, F] are given."""
    total, count = np.zeros(5, np.uint32), max(1, _BLOCK // max(1, values.shape[1]))
    for start in range(0, len(values), count):
        part = np.ascontiguousarray(values[start : start + count])
        if part.dtype.name == "bfloat16":
            bits = part.view(np.uint16)
        else:
            bits = part.astype(np.float32, copy=False).view(np.uint32)
        weights = (rows[:, start : start + count], columns)
        total += np.stack(_sums(bits, *weights, lambda x, y: np.einsum("...n,n->...", x, y)))
    return total


@functools.partial(jax.jit, static_argnames="shape")
def _on_device(leaf: jax.Array, shape: tuple[int, ...], weights: Any) -> jax.Array:
    """[layers, 5] uint32 of a leaf of `shape` [layers, D, F]."""
    if leaf.dtype == jnp.bfloat16:
        bits = leaf.view(jnp.uint16)
    else:
        bits = leaf.astype(jnp.float32).view(jnp.uint32)

    def dot(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.sum(x * y, axis=-1, dtype=jnp.uint32)

    return jax.vmap(lambda layer: jnp.stack(_sums(layer, *weights, dot)))(bits.reshape(shape))


def _sums(bits: Any, rows: Any, columns: Any, dot: Callable) -> list[Any]:
    """The fields of `Sums`, the last as 1 where a value is not finite, of values [D, F].

    Args:
        bits: of bfloat16 in uint16 or of float32 in uint32, of numpy or jax.
        rows, columns: uint32 [2, D] and [2, F].
        dot: [..., N], [N] -> [...], in uint32.
    """
    if bits.dtype.itemsize == 2:
        high = rounded = bits.astype(np.uint32)
        parts = [rounded]
    else:
        high, rest = bits >> np.uint32(16), bits & np.uint32(0xFFFF)
        # To the nearest, ties to even, in whole numbers: a device may take the smallest for zero.
        rounded = (bits + ((high & np.uint32(1)) + np.uint32(0x7FFF))) >> np.uint32(16)
        parts = [rounded, rest]
    sums = [dot(dot(part, columns[i]), rows[i]) for part in parts for i in (0, 1)]
    sums += [sums[0] ^ sums[0]] * (4 - len(sums))  # zeros
    infinite = (high & np.uint32(0x7FFF)) >= np.uint32(_INFINITE)
    return [*sums, infinite.any().astype(np.uint32)]


def _weights(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """[2, D] and [2, F] uint32: odd pseudo-random numbers, always the same for the same place."""
    return _mixed(np.arange(2 * shape[0])), _mixed(np.arange(2 * shape[1]) + 2**31)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    x = numbers.astype(np.uint32)  # a hash of 32 bits, by multiplication and shifts
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return np.ascontiguousarray((x ^ (x >> 16)).reshape(-1, 2).T) | np.uint32(1)


def _read(row: np.ndarray) -> Sums:
    first, second, third, fourth, infinite = map(int, row)
    return Sums((first, second), (third, fourth), not infinite)


def _digest(parts: list) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
