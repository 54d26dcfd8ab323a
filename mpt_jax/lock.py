"""One process at a time in a folder: two would write the same files.

On a disk the kernel holds the lock, and lets go of it when its owner dies, however that comes. A
bucket knows no locks: there the owner keeps renewing a mark, and one that is not renewed any more
was left by one that died.
"""

import contextlib
import fcntl
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator

from etils import epath

from mpt_jax import files
from mpt_jax.errors import UserError

_RENEWAL = 10.0  # seconds
_held: set[int] = set()


@contextlib.contextmanager
def held(path: str | os.PathLike, refusal: str) -> Iterator[None]:
    """Hold the lock that the file `path` stands for; its folder is made if need be.

    Args:
        path: on a disk or in a bucket; it stays there, on a disk.
        refusal: what to say where another process holds it; which one is added.

    Raises:
        UserError: another process holds it; the file cannot be written.
    """
    path = epath.Path(path)
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            take = _marked if files.is_remote(path) else _locked
            stack.enter_context(take(path, refusal))
        except files.storage_errors() as error:
            raise files.unwritable(path, error, "") from error
        yield


def descriptors() -> tuple[int, ...]:
    """The locks on disks, as open files: a child process that gets them holds them on, too."""
    return tuple(_held)


@contextlib.contextmanager
def _locked(path: epath.Path, refusal: str) -> Iterator[None]:
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _refused(refusal, file.read()) from None
        except OSError:  # a file system that knows no locks either
            with _marked(path.with_name(f"{path.name}.mark"), refusal):
                yield
            return
        file.truncate(0)
        file.write(_owner())
        file.flush()
        _held.add(file.fileno())
        try:
            yield
        finally:
            _held.discard(file.fileno())


@contextlib.contextmanager
def _marked(path: epath.Path, refusal: str) -> Iterator[None]:
    if path.exists():
        found = path.read_text()
        note = f"t5x: note: {path} belongs to {_signature(found)}, which may still run: waiting"
        print(note, file=sys.stderr, flush=True)
        time.sleep(2.5 * _RENEWAL)
        if path.exists() and path.read_text() != found:
            raise _refused(refusal, found)
    mine = _owner()
    path.write_text(mine)
    time.sleep(_RENEWAL / 5)  # of two that come at once, the one that writes last stays
    if path.read_text() != mine:
        raise _refused(refusal, path.read_text())
    ends = threading.Event()

    def renew() -> None:
        while not ends.wait(_RENEWAL):
            with contextlib.suppress(*files.storage_errors()):  # the next time, then
                path.write_text(f"{mine}{time.time()}\n")

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()
        with contextlib.suppress(*files.storage_errors()):
            path.unlink()


def _owner() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}\n"


def _refused(refusal: str, owner: str) -> UserError:
    return UserError(f"{refusal} (It is {_signature(owner)}.)")


def _signature(owner: str) -> str:
    return next(iter(owner.splitlines()), "") or "an unknown process"
