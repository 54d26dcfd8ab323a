"""Which of T5X's two layouts a checkpoint has."""

import dataclasses
import os

from mpt_jax.backbone import store
from mpt_jax.backbone.formats import t5x_arrays, t5x_legacy, t5x_orbax, t5x_scalable
from mpt_jax.backbone.weights import Weights


def open_weights(path: str) -> Weights | None:
    """The backbone of the checkpoint at `path`; None where there is none.

    T5X keeps the sizes of a model in gin files elsewhere; `t5x convert` adds a config.json.

    Args:
        path: its folder, or the single file of an early one.

    Raises:
        UserError: a broken checkpoint, or one without a T5.
    """
    if (found := _open(path)) is None:
        return None
    tensors = t5x_scalable.split(found.place, found.tensors)
    return dataclasses.replace(found, tensors=tensors, stated=store.stated_in(path))


def _open(path: str) -> Weights | None:
    if (folder := t5x_orbax.find(path)) is not None:
        return t5x_orbax.open_weights(folder)
    folder, file = os.path.split(path)
    for place in ((path, t5x_legacy.FILE), (folder or ".", file)):
        if (stream := t5x_arrays.open_stream(*place)) is not None:
            stream.close()
            return t5x_legacy.open_weights(*place)
    return None
