"""Writing a file whole or not at all, on a disk or in a bucket (gs://)."""

import contextlib
import os
import shutil
from collections.abc import Iterator

from etils import epath

from mpt_jax.errors import UserError


def write_whole(
    path: str | os.PathLike, content: str | bytes, *, setting: str = "MODEL_DIR"
) -> None:
    """Makes `path` hold `content` (text as UTF-8), and its folder; no reader meets half a file.

    Args:
        path: the file.
        content: all of it.
        setting: what decides where it lies, for the message: a gin macro or a flag ("--output").

    Raises:
        UserError: it cannot be written; what was there before is as it was.
    """
    path, partial = epath.Path(path), _partial(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # the folder is gone or read-only: nothing to remove
            partial.unlink(missing_ok=True)
        raise unwritable(path, error, setting) from error


def check_writable(path: str | os.PathLike, *, setting: str) -> None:
    """Finds out before the work whether `write_whole` could write `path`; makes its folder.

    Raises:
        UserError: it could not.
    """
    path, partial = epath.Path(path), _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        partial.touch()
        partial.unlink()
    except OSError as error:
        raise unwritable(path, error, setting) from error


@contextlib.contextmanager
def whole_folder(path: str) -> Iterator[str]:
    """A new folder to write files into, which becomes `path` once all of them are written.

    Args:
        path: a folder that does not exist or is empty, on a local disk.

    Raises:
        UserError: it holds something, or cannot be written; nothing is left of it.
    """
    path = os.path.normpath(path)
    partial = f"{path}.partial"
    try:
        if os.path.exists(path) and (not os.path.isdir(path) or os.listdir(path)):
            raise UserError(f"{path} exists and is not an empty folder: choose another place.")
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
        os.makedirs(partial)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}. Free space there, or choose another "
            "place."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(path: str | os.PathLike) -> epath.Path:
    path = epath.Path(path)
    return path.with_name(f"{path.name}.partial")


def unwritable(path: str | os.PathLike, error: OSError, setting: str) -> UserError:
    """The message that `path` cannot be written; `setting` is what decides where it lies."""
    flag = setting if setting.startswith("--") else f"--gin.{setting}"
    return UserError(
        f"cannot write {path}: {error.strerror or error}. Free space there, or choose another "
        f"place with {flag}=PATH."
    )
