"""T5X's current checkpoints, and other checkpoints of orbax with a T5 in them.

A folder `checkpoint_<step>/state/` whose `_METADATA` lists the arrays; these are zarr, in one
database for all (OCDBT) or in a folder each.
"""

from typing import Any

from mpt_jax import files
from mpt_jax.backbone.formats import t5x_arrays
from mpt_jax.backbone.weights import Weights
from mpt_jax.errors import UserError

METADATA = "_METADATA"
# Where T5X and orbax put the tree in a checkpoint's folder.
ITEMS = ("state", ".", "default")


def find(folder: str) -> str | None:
    """The folder with `METADATA`, in or at `folder`; None where there is none."""
    for item in ITEMS:
        inside = folder if item == "." else f"{folder.rstrip('/')}/{item}"
        if (stream := t5x_arrays.open_stream(inside, METADATA)) is not None:
            stream.close()
            return inside
    return None


def open_weights(folder: str) -> Weights:
    """The backbone of a checkpoint; see `t5x_arrays.backbone_of` for what is ignored.

    Args:
        folder: of `METADATA`.

    Raises:
        UserError: a broken checkpoint, or one without a T5.
    """
    place = f"{folder}/{METADATA}"
    with t5x_arrays.open_stream(folder, METADATA) as stream:
        metadata, leaves = _parse(place, stream.read())
    specs = {}
    for name, path in t5x_arrays.backbone_of(place, {path: path for path in leaves}).items():
        array = t5x_arrays.check_name(place, ".".join(path))
        specs[name] = {
            "driver": "zarr3" if metadata.get("use_zarr3") else "zarr",
            "kvstore": _kvstore(folder, array, metadata.get("use_ocdbt", True)),
        }
    return Weights(folder, t5x_arrays.open_arrays(folder, specs))


def _kvstore(folder: str, array: str, in_database: bool) -> dict[str, Any]:
    if in_database:
        return {"driver": "ocdbt", "base": t5x_arrays.kvstore(folder), "path": f"{array}/"}
    return t5x_arrays.kvstore(folder, array)


def _parse(place: str, content: bytes) -> tuple[dict, list[t5x_arrays.Keys]]:
    """The metadata, and the paths of the arrays in the tree."""
    try:
        metadata = files.parse_json(content, place)
        leaves = [
            tuple(str(key["key"]) for key in leaf["key_metadata"])
            for leaf in metadata["tree_metadata"].values()
            if leaf["value_metadata"]["value_type"] in ("jax.Array", "np.ndarray")
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{place} is not what its name says ({error!r}): copy it again.") from error
    return metadata, leaves
