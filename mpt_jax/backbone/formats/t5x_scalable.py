"""How T5X's scalable_t5 (umT5) keeps a backbone: layers stacked, heads apart.

    encoder/encoder/mlp/wo/kernel            [F, layers, D]
    encoder/encoder/attention/query/kernel   [D, layers, H, d]
    encoder/encoder/attention/out/kernel     [H, layers, d, D]

Others have called the stack encoder/layers. Without a scan each layer has its own arrays, heads
apart too.
"""  # noqa: D208  (the list is of names and shapes)

import re
from collections.abc import Mapping, Sequence

import numpy as np

from mpt_jax.backbone.formats.sizes import EMBEDDING, RELPOS_OF_LAYER
from mpt_jax.backbone.tensor_file import Index, Tensor
from mpt_jax.errors import UserError

AXIS = 1  # of the layers: `param_scan_axis` in T5X, whose default nobody changes
_STACKED = re.compile(r"(encoder|decoder)/(encoder|decoder|layers)/(.+)")
_LAYER = re.compile(r"(encoder|decoder)/layers_(\d+)/(.+)")
_OF_HEADS = re.compile(r".*attention/(query|key|value|out)/kernel")


def split(place: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's tensors as T5X's first network has them: one per layer, heads side by side.

    Args:
        place: where they lie, for messages.
        tensors: by the checkpoint's name.

    Raises:
        UserError: layers that are stacked along another axis than T5X's.
    """
    found = {}
    for name, tensor in tensors.items():
        if match := _STACKED.fullmatch(name):
            _check_axis(place, name, tensor, tensors.get(EMBEDDING))
            for i in range(tensor.shape[AXIS]):
                found[f"{match[1]}/layers_{i}/{match[3]}"] = _layer(tensor, i)
        else:
            found[name] = tensor
    return {name: _joined(name, tensor) for name, tensor in found.items()}


def together(tensors: Mapping[str, Tensor]) -> dict[str, Sequence[Tensor]]:
    """{name in a checkpoint of T5X: its tensors, one or all layers' in order}.

    In scalable_t5's way where there is a bias in every layer, which only it has.
    """
    if RELPOS_OF_LAYER not in tensors:
        return {name: [tensor] for name, tensor in tensors.items()}
    heads = tensors[RELPOS_OF_LAYER].shape[0]
    found: dict[str, dict[int, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _LAYER.fullmatch(name)
        stacked = f"{match[1]}/{match[1]}/{match[3]}" if match else name
        found.setdefault(stacked, {})[int(match[2]) if match else 0] = _parted(name, tensor, heads)
    return {name: [layers[i] for i in sorted(layers)] for name, layers in found.items()}


def is_stacked(name: str) -> bool:
    """Whether an array of a checkpoint holds all layers."""
    return _STACKED.fullmatch(name) is not None


def _layer(stacked: Tensor, i: int) -> Tensor:
    """One of the layers; only it is read."""

    def without(values: tuple) -> tuple:
        return (*values[:AXIS], *values[AXIS + 1 :])

    def read(index: Index) -> np.ndarray:
        return stacked.read((*index[:AXIS], slice(i, i + 1), *index[AXIS:])).squeeze(AXIS)

    chunks = stacked.chunks and without(stacked.chunks)
    return Tensor(without(stacked.shape), stacked.dtype, read, chunks)


def _joined(name: str, kernel: Tensor) -> Tensor:
    """A kernel [D, H, d], or [H, d, D] of `out`, as a matrix; only the heads asked for are read."""
    match = _OF_HEADS.fullmatch(name)
    if match is None or len(kernel.shape) != 3:
        return kernel
    axis = 0 if match[1] == "out" else 1
    heads, size = kernel.shape[axis : axis + 2]

    def join(shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])

    def read(index: Index) -> np.ndarray:
        start, stop, _ = index[axis].indices(heads * size)
        first, last = start // size, -(-stop // size)
        inside = (*index[:axis], slice(first, last), slice(0, size), *index[axis + 1 :])
        found = kernel.read(inside)
        found = found.reshape(join(found.shape))
        within = slice(start - first * size, stop - first * size)
        return found[within] if axis == 0 else found[:, within]

    return Tensor(join(kernel.shape), kernel.dtype, read, kernel.chunks and join(kernel.chunks))


def _parted(name: str, kernel: Tensor, heads: int) -> Tensor:
    """The way back: a matrix of heads side by side as [D, H, d], or [H, d, D] of `out`."""
    if (match := _OF_HEADS.fullmatch(name)) is None:
        return kernel
    rows, columns = kernel.shape
    if match[1] == "out":
        shape = (heads, rows // heads, columns)
    else:
        shape = (rows, heads, columns // heads)
    return Tensor(shape, kernel.dtype, lambda index: kernel.whole().reshape(shape)[index])


def _check_axis(place: str, name: str, tensor: Tensor, embedding: Tensor | None) -> None:
    """A norm's scale tells the layers from the width; other arrays must have their axis."""
    width = embedding.shape[-1] if embedding else None
    if len(tensor.shape) <= AXIS or (name.endswith("/scale") and tensor.shape[0] != width):
        raise UserError(
            f"{place}: the array {name!r} of all layers has shape {tensor.shape}; layers are read "
            f"from axis {AXIS}, as T5X stacks them (param_scan_axis)."
        )
