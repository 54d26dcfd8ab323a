"""Files that ship with the package: `mini/` holds the embedded backbone and its vocabulary."""

import pathlib

MINI = "mini"


def path(name: str) -> str:
    """The absolute path of an installed asset, e.g. `path("mini")`."""
    return str(pathlib.Path(__file__).parent / name)


def backbone(name_or_path: str) -> str:
    """Where a backbone lies that is named as INITIAL_CHECKPOINT_PATH.

    `mini` is the one that ships, from any folder; everything else is a path as it is, of a folder
    of that name too: `./mini`.
    """
    return path(MINI) if name_or_path == MINI else name_or_path
