"""The prompts that are served: those of a file, as it last was whole."""

import os
import time

from mpt_jax import files, hosts
from mpt_jax.api import LoadedModel
from mpt_jax.errors import UserError
from mpt_jax.product import product_file
from mpt_jax.serve.metrics import Metrics
from mpt_jax.serve.programs import Programs

PERIOD = 0.5  # seconds between two looks at the file

_Signature = tuple[int, int, int] | None


class Bank:
    """A prompt file that may be replaced while it is served.

    Attributes:
        programs: that answer from the bank in use. Those of the bank before stay with the requests
            that were read for them.
        file: what is watched, on a disk; a file in a bucket is read once.
        since: seconds since the epoch at which the bank came into use.
        refused: why the file that lies there now is not in use; None: it is.
    """

    def __init__(self, path: str, signature: _Signature, t5: LoadedModel, metrics: Metrics):
        """Args: what `signature` gave before `t5` was loaded from `path`."""
        self.file, self._metrics = path, metrics
        self.refused: str | None = None
        self._tried = self._seen = signature
        self.programs = Programs(t5)
        self.since = time.time()
        metrics.tasks.set(len(t5.tasks))

    @property
    def size(self) -> str:
        """The number of tasks, in a message."""
        count = len(self.programs.t5.tasks)
        return f"{count:,} task{'s' * (count != 1)}"

    def look(self) -> None:
        """Take over the file, where it is another one than before and holds still."""
        if files.is_remote(self.file) or (found := signature(self.file)) == self._tried:
            return
        if found != self._seen:  # it may be written right now
            self._seen = found
            return
        self._tried = found
        try:
            self._take_over()
        except UserError as error:
            self._refuse(str(error))
        except Exception as error:  # a thread that ended would look no more
            self._refuse(f"{type(error).__name__}: {error}")

    def _take_over(self) -> None:
        programs = Programs(self.programs.t5.with_prompts(self.file))
        if not programs.are_those_of(self.programs):
            programs.compile()
        self.programs, self.refused, self.since = programs, None, time.time()
        self._metrics.bank_loaded(len(programs.t5.tasks))
        hosts.note(f"{self.file} was replaced: {self.size} from now on.")

    def _refuse(self, reason: str) -> None:
        self.refused = " ".join(reason.split())
        self._metrics.bank_refused()
        hosts.warn(f"the new {self.file} is refused, the old one goes on serving: {self.refused}")


def find(path: str) -> tuple[str, _Signature]:
    """The prompt file for a path or run folder, and its `signature`; UserError: none."""
    file = product_file.resolve(path)
    return file, None if files.is_remote(file) else signature(file)


def signature(file: str) -> _Signature:
    """What changes when a file on a disk is replaced; None: there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
