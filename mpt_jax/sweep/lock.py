"""One sweep at a time in a folder: two would write the same runs."""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator

from mpt_jax.errors import UserError

FILE = "sweep.lock"


@contextlib.contextmanager
def held(folder: pathlib.Path) -> Iterator[None]:
    """Hold the lock of `folder`, which is made if need be; a process that dies lets go of it.

    Raises:
        UserError: another sweep holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another sweep is carrying out runs in {folder}: wait for its end, or give this "
                "one another --folder."
            ) from None
        yield
