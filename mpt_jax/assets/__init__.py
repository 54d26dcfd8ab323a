"""Files that ship with the package: `mini/` holds the embedded backbone and its vocabulary."""

import pathlib


def path(name: str) -> str:
    """The absolute path of an installed asset, e.g. `path("mini")`."""
    return str(pathlib.Path(__file__).parent / name)
