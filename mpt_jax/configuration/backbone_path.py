"""INITIAL_CHECKPOINT_PATH names something that is there; imports nothing heavy."""

from etils import epath

from mpt_jax import assets
from mpt_jax.errors import UserError


def check(path: str) -> None:
    """Refuse a backbone, named as INITIAL_CHECKPOINT_PATH, that is not there (UserError)."""
    if not epath.Path(assets.backbone(path)).exists():
        raise UserError(
            f"INITIAL_CHECKPOINT_PATH {path!r} does not exist: give the folder of the backbone, "
            '--gin.INITIAL_CHECKPOINT_PATH="FOLDER".'
        )


def stamp(path: str) -> tuple:
    """The place of a backbone, and name, size and time of change of the files in its folder."""
    place = epath.Path(assets.backbone(path))
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    facts = [(file, file.stat()) for file in files]
    return (str(place), *((file.name, found.length, found.mtime) for file, found in facts))
