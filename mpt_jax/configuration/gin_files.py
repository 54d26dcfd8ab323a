"""Finds gin files, and plans of sweeps, from any folder: the user's, then those of the package.

Imports nothing heavy: the command line uses it to refuse a wrong path at once.
"""

import pathlib
import textwrap
from collections.abc import Sequence

from mpt_jax.errors import UserError, did_you_mean


def shipped_root() -> pathlib.Path:
    """The folder of the gin files that ship with the package.

    A wheel has them at `mpt_jax/gin`, a checkout next to `mpt_jax`.
    """
    package = pathlib.Path(__file__).resolve().parents[1]
    installed = package / "gin"
    return installed if installed.is_dir() else package.parent / "gin"


def shipped(suffix: str = ".gin") -> list[str]:
    """The shipped files as one names them on the command line: `gin/mpt_source.gin`, ..."""
    root = shipped_root()
    return sorted(str(path.relative_to(root.parent)) for path in root.rglob(f"*{suffix}"))


def search_folders(search_paths: Sequence[str] = ()) -> list[pathlib.Path]:
    """Where a relative gin path is looked for, in order.

    The working directory, `search_paths`, the shipped folder and its parent, so that both
    `models/mini.gin` and `gin/models/mini.gin` are found.
    """
    root = shipped_root()
    return [pathlib.Path(), *(pathlib.Path(p) for p in search_paths), root, root.parent]


def find(
    name: str, search_paths: Sequence[str] = (), kind: str = "gin file", suffix: str = ".gin"
) -> pathlib.Path:
    """The absolute path of the file `name`.

    Args:
        name: as on the command line.
        search_paths: folders to look in after the working directory.
        kind, suffix: of such files, for the message.

    Raises:
        UserError: no such file; the message has the nearest names and the folders looked in.
    """
    folders = search_folders(search_paths)
    for folder in folders:
        path = folder / name
        if path.is_file():
            return path.resolve()
    nearby = [str(path) for path in pathlib.Path().glob(f"*{suffix}")]
    looked_in = ", ".join(str(folder.resolve()) for folder in dict.fromkeys(folders))
    raise UserError(
        f"there is no {kind} {name!r}.{did_you_mean(name, [*nearby, *shipped(suffix)])} "
        f"Looked in: {looked_in}."
    )


def describe_shipped() -> str:
    """The shipped gin files, folder by folder in lines of 80 columns, for messages and help."""
    by_folder: dict[str, list[str]] = {}
    for name in shipped():
        folder, _, file = name.rpartition("/")
        by_folder.setdefault(folder, []).append(file)
    return "\n".join(
        textwrap.fill(
            f"{folder}/: {' '.join(files)}",
            width=80,
            initial_indent="  ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
        for folder, files in by_folder.items()
    )
