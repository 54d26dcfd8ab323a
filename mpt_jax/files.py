"""Writing a file whole or not at all, on a disk or in a bucket (gs://)."""

import contextlib
import os

from etils import epath

from mpt_jax.errors import UserError


def write_whole(
    path: str | os.PathLike, content: str | bytes, *, setting: str = "MODEL_DIR"
) -> None:
    """Makes `path` hold `content` (text as UTF-8), and its folder; no reader meets half a file.

    Args:
        path: the file.
        content: all of it.
        setting: what decides where it lies, for the message: a gin macro, a flag ("--output"), or
            "" for an argument without a name.

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
        raise _unwritable(path, error, setting) from error


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
        raise _unwritable(path, error, setting) from error


def _partial(path: str | os.PathLike) -> epath.Path:
    path = epath.Path(path)
    return path.with_name(f"{path.name}.partial")


def _unwritable(path: epath.Path, error: OSError, setting: str) -> UserError:
    flag = setting if setting.startswith("--") or not setting else f"--gin.{setting}"
    return UserError(
        f"cannot write {path}: {error.strerror or error}. Free space there, or choose another "
        f"place{flag and f' with {flag}=PATH'}."
    )
