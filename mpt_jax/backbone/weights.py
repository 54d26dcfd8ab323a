"""A backbone's tensors, wherever they lie, and the one way by which they get onto the devices.

Each format that can be read (our own in `store`, other people's in `formats`) gives a
`Weights`: the tensors under T5X's names, one per layer, of which nothing is read until asked.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from mpt_jax.backbone import fingerprints
from mpt_jax.backbone.tensor_file import DTYPES, Index, Tensor
from mpt_jax.errors import UserError, did_you_mean

LOGITS = "decoder/logits_dense/kernel"
_BLOCK = 2**23  # bytes that are read of a large tensor at a time


@dataclasses.dataclass(frozen=True)
class Weights:
    """The tensors of one backbone.

    Attributes:
        place: where they lie, for messages.
        tensors: by T5X's name (`encoder/layers_0/mlp/wi/kernel`); what has none keeps the file's.
        stated: the fields of `T5Config` that the folder states; may be none.
        native: T5X's name -> the file's, for messages.
    """

    place: str
    tensors: Mapping[str, Tensor]
    stated: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    native: Callable[[str], str] = str

    def cast(self, dtype: str) -> "Weights":
        """The same, rounded to `dtype` as they are read."""
        tensors = {name: tensor.cast(dtype) for name, tensor in self.tensors.items()}
        return dataclasses.replace(self, tensors=tensors)

    def called(self, name: str) -> str:
        """The tensor `name` in a message: as the file calls it, and in T5X's words."""
        native = self.native(name)
        return repr(name) if native == name else f"{native!r} ({name})"


def load(weights: Weights, shapes: Mapping, shardings: Mapping) -> dict[str, Any]:
    """Read a backbone, tensor by tensor, each device taking only its own slice.

    No more than one parameter is on the host at a time, and no slice of it is read twice.

    The largest tensors come first, so that the memory that a tensor needs while it is read is small
    against what is already there.

    Args:
        weights: where to read.
        shapes: nested dict of `jax.ShapeDtypeStruct`: what the network expects, each leaf in the
            dtype that it is to have in memory.
        shardings: the same tree with a `jax.sharding.Sharding` per leaf.

    Returns:
        nested dict of global arrays.

    Raises:
        UserError: a missing, extra or misshapen tensor, one of whole numbers, or with values that
            are not finite (named); a broken file.
    """
    expected = traverse_util.flatten_dict(shapes, sep="/")
    layout = traverse_util.flatten_dict(shardings, sep="/")
    check(weights, tensor_shapes(expected))
    loaded = dict.fromkeys(expected)
    for name in sorted(expected, key=lambda name: -math.prod(expected[name].shape)):
        loaded[name] = _place(weights, name, expected[name], layout[name])
        _check_finite(weights, name, loaded[name])
    return traverse_util.unflatten_dict(loaded, sep="/")


def check(weights: Weights, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Refuses weights that are not exactly those `expected`, {T5X's name, one per layer: shape}.

    Raises:
        UserError: names the first tensor that is missing, extra, misshapen or of no float type.
    """
    tensors = weights.tensors
    for name in sorted(expected.keys() - tensors.keys()):
        raise UserError(
            f"{weights.place} lacks the tensor {weights.called(name)}.{did_you_mean(name, tensors)}"
            f"{_about_heads(name, True)}"
        )
    for name in sorted(tensors.keys() - expected.keys()):
        raise UserError(
            f"{weights.place} holds an extra tensor {weights.called(name)}: the sizes of the model "
            f"gin or of config.json do not describe this backbone.{_about_heads(name, False)}"
        )
    for name, wanted in expected.items():
        shape, dtype = tensors[name].shape, tensors[name].dtype
        if shape != wanted:
            raise UserError(
                f"{weights.place}: tensor {weights.called(name)} has shape {shape}, the sizes of "
                f"the model gin or of config.json ask for {wanted}."
            )
        if dtype not in DTYPES:
            raise UserError(
                f"{weights.place}: tensor {weights.called(name)} is of type {dtype}; weights are "
                f"{', '.join(DTYPES)}."
            )


def _about_heads(name: str, tied: bool) -> str:
    """The setting for a backbone whose head is, or is not, the embedding; "" for other tensors."""
    head = "the embedding" if tied else "a separate tensor"
    setting = f" A backbone whose head is {head} has T5Config.logits_via_embedding = {tied}."
    return setting if name == LOGITS else ""


def _check_finite(weights: Weights, name: str, leaf: jax.Array) -> None:
    (sums,) = fingerprints.of_leaves({name: leaf}).values()
    for tensor, found in zip(tensor_names(name, leaf.shape), sums, strict=True):
        if not found.finite:
            raise not_finite(weights, tensor)


def not_finite(weights: Weights, name: str) -> UserError:
    """The message that the tensor `name` holds infinities or NaN."""
    return UserError(
        f"{weights.place}: tensor {weights.called(name)} holds values that are not finite: copy it "
        "again, or take a backbone from before its training diverged."
    )


def tensor_names(name: str, shape: tuple[int, ...]) -> list[str]:
    """Names in a file of a parameter: itself, or one per layer where a scan has stacked them."""
    stack, layers, rest = name.partition("/layers/")
    return [f"{stack}/layers_{i}/{rest}" for i in range(shape[0])] if layers else [name]


def tensor_shapes(flat: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """{name in a file: shape} for parameters, or their shapes, by name."""
    return {
        tensor: tuple(leaf.shape) if tensor == name else tuple(leaf.shape[1:])
        for name, leaf in flat.items()
        for tensor in tensor_names(name, leaf.shape)
    }


def _place(weights: Weights, name: str, wanted: jax.ShapeDtypeStruct, sharding: Any) -> jax.Array:
    """One parameter on its devices; of a stacked one, each layer from its own tensor."""
    shape, dtype = wanted.shape, wanted.dtype
    parts = [weights.tensors[tensor] for tensor in tensor_names(name, shape)]

    def part(index: Index) -> np.ndarray:
        if parts[0].shape == shape:
            return _read(parts[0], index, dtype)
        layers, within = parts[index[0]], index[1:]
        first = _read(layers[0], within, dtype)
        out = np.empty((len(layers), *first.shape), dtype)
        for row, layer in zip(out, layers, strict=True):
            row[...] = first if layer is layers[0] else _read(layer, within, dtype)
        return out

    taken: dict[tuple, np.ndarray] = {}

    def read(index: Index) -> np.ndarray:
        """A part, from the file once for all devices that hold it."""
        key = tuple((span.start, span.stop) for span in index)
        if key not in taken:
            taken[key] = part(index)
        return taken[key]

    # Awaited, or what is read for devices that are slower than the disk would pile up.
    return jax.block_until_ready(jax.make_array_from_callback(shape, sharding, read))


def _read(tensor: Tensor, index: Index, dtype: np.dtype) -> np.ndarray:
    """A part in another type; of a large one, block after block of rows, which is all there is
    in memory next to the result.
    """
    spans = [range(*part.indices(n)) for part, n in zip(index, tensor.shape, strict=True)]
    shape = [len(span) for span in spans]
    together = tensor.chunks[0] if tensor.chunks else 1
    row = math.prod(shape[1:]) * np.dtype(tensor.dtype).itemsize
    rows = max(1, _BLOCK // max(1, row * together)) * together
    if shape[0] <= rows:
        return tensor.read(index).astype(dtype, copy=False)
    out, (start, stop) = np.empty(shape, dtype), (spans[0].start, spans[0].stop)
    while start < stop:
        end = min((start // rows + 1) * rows, stop)
        at = start - spans[0].start
        out[at : at + end - start] = tensor.read((slice(start, end), *index[1:]))
        start = end
    return out
