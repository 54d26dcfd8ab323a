"""Writing files and folders whole or not at all, on a disk or in a bucket (gs://); reading JSON."""

import collections
import contextlib
import fcntl
import io
import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from etils import epath

from mpt_jax import checksums
from mpt_jax.errors import UserError

_LARGEST_JSON = 64 * 2**20  # bytes
_LARGEST_LINES = 2**30
_DEEPEST_JSON = 100


_BUCKETS = ("gs", "s3", "az", "hf")  # the schemes that epath knows


def absolute(path: str | os.PathLike) -> epath.Path:
    """`path` from the root of the disk; one in a bucket ("gs://...") is that already.

    Raises:
        UserError: a scheme that nothing here can write to, which would become a local folder.
    """
    scheme, colon, _ = os.fspath(path).partition("://")
    if not colon:
        return epath.Path(os.path.abspath(path))
    if scheme not in _BUCKETS:
        raise UserError(
            f"{os.fspath(path)!r} is on no kind of storage that is known here: give a path on a "
            f"disk, or in a bucket, {'://, '.join(_BUCKETS)}://."
        )
    return epath.Path(path)


def is_remote(path: str | os.PathLike) -> bool:
    """Whether `path` lies in a bucket."""
    return "://" in os.fspath(path)


def storage_errors() -> tuple[type[Exception], ...]:
    """What a disk raises when it fails, and a bucket: epath reads those by TensorFlow."""
    tensorflow = sys.modules.get("tensorflow")
    return (OSError, tensorflow.errors.OpError) if tensorflow else (OSError,)


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
    write_together({path: content}, setting=setting)


def write_together(
    contents: Mapping[str | os.PathLike, str | bytes | Callable[[BinaryIO], None]],
    *,
    setting: str | None = "MODEL_DIR",
) -> None:
    """Writes several files as `write_whole` does; none has its name before all are on the disk.

    They get their names in the order given, last the one that readers go by. So a process that is
    killed leaves them the old one or the new one, and the same call again makes the rest.

    Args:
        contents: file -> all of it, or what writes it into a stream that can be sought.
        setting: as in `write_whole`; None: the storage's own error is raised.

    Raises:
        UserError: they cannot be written.
    """
    written: list[tuple[epath.Path, epath.Path]] = []
    try:
        for name, content in contents.items():
            path, partial = epath.Path(name), _partial(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            written.append((partial, path))
            _write(partial, content)
            _to_disk(partial)
        for partial, path in written:
            partial.replace(path)
    except storage_errors() as error:
        for partial, _ in written:
            with contextlib.suppress(*storage_errors()):  # the folder is gone: none to remove
                partial.unlink(missing_ok=True)
        if setting is None:
            raise
        raise unwritable(path, error, setting) from error


def _write(path: epath.Path, content: str | bytes | Callable[[BinaryIO], None]) -> None:
    if not callable(content):
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    elif is_remote(path):  # where no stream can be sought
        stream = io.BytesIO()
        content(stream)
        path.write_bytes(stream.getvalue())
    else:
        with open(path, "wb") as stream:
            content(stream)


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
    except storage_errors() as error:
        raise unwritable(path, error, setting) from error


@contextlib.contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[epath.Path]:
    """A folder to write into, on a disk, that becomes `path` when the block ends without error.

    What a process that was killed has left of it is removed.

    Raises:
        UserError: `path` exists and is not an empty folder, another process is writing it, or it
            cannot be written.
    """
    path = epath.Path(path)
    check_new_folder(path)
    # A name that nobody would give to their own folder.
    partial = path.with_name(f"{path.name}.mpt_jax.partial")
    try:
        lock = _claim(partial)
    except OSError as error:
        raise _not_made(path, error) from error
    try:
        yield partial
        for folder, _, names in os.walk(partial):
            for name in names:
                _to_disk(os.path.join(folder, name))
        os.replace(partial, path)
    except OSError as error:
        raise _not_made(path, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(lock)


def _claim(folder: epath.Path) -> int:
    """Makes a folder, empties it, and locks it until the descriptor is closed or the process ends.

    Raises:
        UserError: another process has locked it.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise UserError(
                f"{folder} is being written by another process: wait for its end, or name another "
                "place."
            ) from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.stat(folder)):
                break
        os.close(lock)  # its owner has renamed or removed it in between
    for left in folder.iterdir():
        if left.is_dir():
            left.rmtree()
        else:
            left.unlink()
    return lock


def _to_disk(path: str | os.PathLike) -> None:
    """Waits until a file's content is on the disk: a name must not survive what it names."""
    if not is_remote(path):
        with open(path, "rb") as stream:
            os.fsync(stream.fileno())


def check_new_folder(path: str | os.PathLike) -> None:
    """Refuses a place for a new folder that is taken.

    Raises:
        UserError: there is a file, or a folder that is not empty; it is in a bucket.
    """
    if is_remote(path):
        raise UserError(f"{os.fspath(path)} is in a bucket: name a folder on a disk, and copy it.")
    if os.path.lexists(path) and not (os.path.isdir(path) and not os.listdir(path)):
        raise UserError(f"{path} exists: remove it, or name a folder that is new or empty.")


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """The JSON object in a file of a few kilobytes or megabytes; see `parse_json`.

    Raises:
        UserError: it cannot be read, holds something else, or is not as its checksum says.
    """
    return _json_object(_read(path, _LARGEST_JSON), str(path))


def read_json_lines(path: str | os.PathLike) -> list[dict[str, Any]]:
    """The JSON object of each line of a file that a run appends to.

    A last line that is not whole, as a kill leaves it, is left out.

    Raises:
        UserError: the file cannot be read, or a line holds something else or is not as its
            checksum says; it is named.
    """
    *lines, rest = _read(path, _LARGEST_LINES).split(b"\n")
    found = [_json_object(line, f"{path}, line {n},") for n, line in enumerate(lines, 1)]
    with contextlib.suppress(UserError):
        found.append(_json_object(rest, str(path)))
    return found


def read_text(path: str | os.PathLike) -> str:
    """The text in a small file, UTF-8.

    Raises:
        UserError: it cannot be read, or is something else.
    """
    try:
        return _read(path, _LARGEST_JSON).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error}): copy it again.") from error


def parse_json(text: str | bytes, where: str, remedy: str = ": copy it again") -> Any:
    """The value that JSON text stands for.

    Numbers are finite (JSON knows no NaN or Infinity), no name is in an object twice, and brackets
    are nested at most 100 deep, so that whatever walks through the value ends.

    Args:
        text: UTF-8.
        where: what it is called in the message.
        remedy: what the message says to do.

    Raises:
        UserError: it is something else.
    """
    try:
        value = _JSON.decode(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid JSON ({error}){remedy}.") from error
    level = [value]
    for _ in range(_DEEPEST_JSON):
        containers = (v for v in level if isinstance(v, dict | list))
        level = [x for v in containers for x in (v.values() if isinstance(v, dict) else v)]
        if not level:
            return value
    raise UserError(f"{where} is not usable JSON (over {_DEEPEST_JSON} brackets deep).")


def check_fields(
    values: Mapping[str, Any], kinds: Mapping[str, type | tuple[type, ...]], where: str
) -> None:
    """Raises UserError unless `values` has each field, of its kind; a bool is not a number here."""
    for name, kind in kinds.items():
        value = values.get(name)
        kinds_of_it = kind if isinstance(kind, tuple) else (kind,)
        is_bool = isinstance(value, bool) and bool not in kinds_of_it
        if name not in values or is_bool or not isinstance(value, kinds_of_it):
            raise UserError(f"{where} has no usable {name!r}.")


def to_json(value: Any, **options: Any) -> str:
    """JSON text of `value`; a number that is not finite is null.

    Args:
        value: numbers, text, None, and mappings, lists and tuples of these.
        options: of `json.dumps`.
    """
    return json.dumps(_finite(value), allow_nan=False, **options)


def to_sealed_json(values: Mapping[str, Any], **options: Any) -> str:
    """As `to_json`, of an object with its checksum in it, which is compared when it is read."""
    return to_json(checksums.sealed(_finite(values)), **options)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def _read(path: str | os.PathLike, most: int) -> bytes:
    path = epath.Path(path)
    try:
        if path.stat().length > most:
            raise UserError(f"{path} is not what its name says: it is over {most >> 20} MiB.")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error


def _json_object(text: bytes, where: str) -> dict[str, Any]:
    value = parse_json(text, where)
    if not isinstance(value, dict):
        raise UserError(f"{where} is not what its name says: it holds no JSON object.")
    return checksums.unsealed(where, value)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _finite_float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_constant(text)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        ((name, _),) = collections.Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the name {name[:80]!r} is there twice")
    return values


_JSON = json.JSONDecoder(
    parse_constant=_no_constant, parse_float=_finite_float, object_pairs_hook=_without_repetition
)


def _partial(path: str | os.PathLike) -> epath.Path:
    path = epath.Path(path)
    return path.with_name(f"{path.name}.partial")


def reason(error: Exception) -> str:
    """What a disk's or a bucket's error says, without numbers and frames."""
    return getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)


def unwritable(path: str | os.PathLike, error: Exception, setting: str) -> UserError:
    """The message that `path` cannot be written; `setting` is what decides where it lies."""
    flag = setting if setting.startswith("--") or not setting else f"--gin.{setting}"
    return UserError(
        f"cannot write {path}: {reason(error)}. Free space there, or choose another "
        f"place{flag and f' with {flag}=PATH'}."
    )


def _not_made(path: epath.Path, error: OSError) -> UserError:
    return UserError(
        f"cannot write {path}: {error.strerror or error}. Free space there, or name another place."
    )
