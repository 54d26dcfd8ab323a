"""Layers that a scan has stacked into one array, as T5X's scalable_t5 keeps them (umT5).

encoder/encoder/mlp/wo/kernel    [F, layers, D]; others call it encoder/layers/mlp/wo/kernel
"""  # noqa: D208  (a name and its shape)

import re
from collections.abc import Mapping, Sequence

import numpy as np

from mpt_jax.backbone.formats.sizes import EMBEDDING, RELPOS_OF_LAYER
from mpt_jax.backbone.tensor_file import Index, Tensor
from mpt_jax.errors import UserError

AXIS = 1  # of the layers: `param_scan_axis` in T5X, whose default nobody changes
_STACKED = re.compile(r"(encoder|decoder)/(encoder|decoder|layers)/(.+)")
_LAYER = re.compile(r"(encoder|decoder)/layers_(\d+)/(.+)")


def split(place: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, each layer's under its own name.

    Args:
        place: where they lie, for messages.
        tensors: by the checkpoint's name.

    Raises:
        UserError: layers that are stacked along another axis than T5X's.
    """
    found = {}
    for name, tensor in tensors.items():
        if (match := _STACKED.fullmatch(name)) is None:
            found[name] = tensor
            continue
        _check_axis(place, name, tensor, tensors.get(EMBEDDING))
        for i in range(tensor.shape[AXIS]):
            found[f"{match[1]}/layers_{i}/{match[3]}"] = _layer(tensor, i)
    return found


def together(tensors: Mapping[str, Tensor]) -> dict[str, Sequence[Tensor]]:
    """{name in a checkpoint of T5X: its tensors, one or all layers' in order}.

    Only scalable_t5 has a bias in every layer, and it stacks layers.
    """
    if RELPOS_OF_LAYER not in tensors:
        return {name: [tensor] for name, tensor in tensors.items()}
    found: dict[str, dict[int, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _LAYER.fullmatch(name)
        stacked = f"{match[1]}/{match[1]}/{match[3]}" if match else name
        found.setdefault(stacked, {})[int(match[2]) if match else 0] = tensor
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


def _check_axis(place: str, name: str, tensor: Tensor, embedding: Tensor | None) -> None:
    """A norm's scale tells the layers from the width; other arrays must have their axis."""
    width = embedding.shape[-1] if embedding else None
    if len(tensor.shape) <= AXIS or (name.endswith("/scale") and tensor.shape[0] != width):
        raise UserError(
            f"{place}: the array {name!r} of all layers has shape {tensor.shape}; layers are read "
            f"from axis {AXIS}, as T5X stacks them (param_scan_axis)."
        )
