"""The arrays of T5X checkpoints: zarr by tensorstore, on a disk or in a bucket (gs://)."""

import os
import re
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import tensorstore
from etils import epath

from mpt_jax.backbone.store import BACKBONE_TREES
from mpt_jax.backbone.weights import Index, Tensor
from mpt_jax.errors import UserError

# Where the parameters are in the tree of a checkpoint: T5X's two layouts, then plain Flax's.
_PREFIXES = (("optimizer", "target"), ("target",), ("params",), ())
_EMBEDDING = ("token_embedder", "embedding")

Keys = tuple[str, ...]


def backbone_of(place: str, leaves: Mapping[Keys, Any]) -> dict[str, Any]:
    """Those of a checkpoint's leaves that are its backbone, by T5X's name.

    Ignored: the optimizer's state and step, and parameters outside `store.BACKBONE_TREES`.

    Raises:
        UserError: there is no backbone among them.
    """
    for prefix in _PREFIXES:
        if (*prefix, *_EMBEDDING) in leaves:
            inside = {
                path[len(prefix) :]: leaf
                for path, leaf in leaves.items()
                if path[: len(prefix)] == prefix
            }
            return {"/".join(p): leaf for p, leaf in inside.items() if p[0] in BACKBONE_TREES}
    raise UserError(
        f"{place} is a checkpoint without a T5: none of its arrays is token_embedder/embedding, at "
        "the root, under target or under params."
    )


def open_stream(folder: str, name: str) -> BinaryIO | None:
    """The file `name` of a folder, None where there is none.

    Raises:
        UserError: it cannot be read.
    """
    file = epath.Path(folder) / name
    try:
        return file.open("rb") if file.is_file() else None
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}.") from error


def kvstore(folder: str, name: str = "") -> dict[str, str]:
    """Tensorstore's description of what lies under `name/` in a folder."""
    inside = f"{name}/" if name else ""
    if os.fspath(folder).startswith("gs://"):
        bucket, _, path = os.fspath(folder).removeprefix("gs://").partition("/")
        return {
            "driver": "gcs",
            "bucket": bucket,
            "path": f"{path.rstrip('/')}/{inside}".lstrip("/"),
        }
    return {"driver": "file", "path": os.path.join(os.path.abspath(folder), inside)}


def open_arrays(place: str, specs: Mapping[str, Mapping[str, Any]]) -> dict[str, Tensor]:
    """The arrays at these tensorstore specs, opened together.

    Raises:
        UserError: one that is missing, of another format or broken (named).
    """
    waiting = {}
    try:
        for name, spec in specs.items():
            strict = {**spec, "fill_missing_data_reads": False}  # a missing file is not zeros
            waiting[name] = tensorstore.open(strict, open=True, read=True)
        return {name: _tensor(place, name, future.result()) for name, future in waiting.items()}
    except (ValueError, OSError) as error:
        raise _broken(place, name, error) from error


def check_name(place: str, name: str) -> str:
    """The name of an array's folder, which lies in the checkpoint's.

    Raises:
        UserError: it lies elsewhere.
    """
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII) or ".." in name:
        raise UserError(f"{place} names the array {name!r}: arrays lie in the checkpoint's folder.")
    return name


def _tensor(place: str, name: str, array: tensorstore.TensorStore) -> Tensor:
    chunk = array.chunk_layout.read_chunk.shape
    # T5X cuts an array into chunks; a chunk beyond it would be memory at a broken file's request.
    if chunk is None or any(c > max(n, 1) for c, n in zip(chunk, array.shape, strict=True)):
        raise UserError(f"{place}: the array {name!r} of shape {array.shape} has chunks {chunk}.")

    def read(index: Index) -> np.ndarray:
        try:
            return array[index].read().result()
        except (ValueError, OSError) as error:
            raise _broken(place, name, error) from error

    return Tensor(tuple(array.shape), array.dtype.name, read, tuple(chunk))


def _broken(place: str, name: str, error: Exception) -> UserError:
    text = re.sub(r"\s*\[source locations.*", "", str(error), flags=re.DOTALL)
    return UserError(f"{place}: the array {name!r} cannot be read ({text}): copy it again.")
