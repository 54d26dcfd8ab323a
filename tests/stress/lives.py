"""Runs of `t5x` in processes forked from one that has imported everything, killed where asked.

A life costs the work of the run and no imports, so that hundreds fit into minutes. The forking
process itself must not touch jax's devices nor TensorFlow's runtime.
"""

import dataclasses
import functools
import mmap
import os
import pathlib
import signal
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
from tensorflow.python.autograph.impl import api as autograph

from mpt_jax import cli
from mpt_jax.engine import checkpoints
from mpt_jax.engine import run as run_lib
from mpt_jax.engine.evaluation import evaluator
from mpt_jax.engine.reporting import window

PHASES = ("start-up", "restoring", "training", "saving", "evaluation")
TIME, WRITE, SIGNAL = "after a time", "before a write", "by SIGTERM"
_WRITES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link")
_LIMIT = 600  # seconds; a life that takes longer hangs


@dataclasses.dataclass(frozen=True)
class Kill:
    """How a life ends early.

    Attributes:
        how: TIME, WRITE or SIGNAL.
        when: seconds after its start, or the number of the write to its run folder.
    """

    how: str
    when: float


@dataclasses.dataclass(frozen=True)
class End:
    """How a life ended.

    Attributes:
        status: of the process; -9 where it was killed.
        phase: one of PHASES, in which it ended.
        seconds: it took.
        writes: that Python made to the run folder.
    """

    status: int
    phase: str
    seconds: float
    writes: int


class _Told:
    """What a process tells the one that forked it, in memory that both see."""

    def __init__(self):
        self._memory = mmap.mmap(-1, 16)

    def put(self, *, phase: str | None = None, writes: int | None = None) -> None:
        if phase is not None:
            struct.pack_into("q", self._memory, 0, PHASES.index(phase))
        if writes is not None:
            struct.pack_into("q", self._memory, 8, writes)

    @property
    def phase(self) -> str:
        return PHASES[struct.unpack_from("q", self._memory, 0)[0]]

    @property
    def writes(self) -> int:
        return struct.unpack_from("q", self._memory, 8)[0]


class Life:
    """One process that runs `arguments` of `t5x`.

    Args:
        arguments: of the command.
        folder: its run folder, of which writes are counted.
        log: file that its output is added to.
        kill: None: it may end by itself.
    """

    def __init__(
        self, arguments: Sequence[str], folder: pathlib.Path, log: pathlib.Path, kill: Kill | None
    ):
        self._kill, self._told, self._start = kill, _Told(), time.monotonic()
        self._process = fork(lambda: self._run(arguments, folder), log)

    def wait(self) -> End:
        """Wait for its end, and bring that about where it is due.

        Raises:
            TimeoutError: it hangs; it was killed.
        """
        due = self._kill.when if self._kill and self._kill.how != WRITE else _LIMIT
        status = wait(self._process, self._start + due)
        if status is None and self._kill and self._kill.how == SIGNAL:
            os.kill(self._process, signal.SIGTERM)
            status = wait(self._process, self._start + _LIMIT)
        if status is None:
            os.kill(self._process, signal.SIGKILL)
            status = wait(self._process, self._start + 2 * _LIMIT)
            if due == _LIMIT or self._kill.how == SIGNAL:
                raise TimeoutError(f"process {self._process} hung; it was killed")
        seconds = time.monotonic() - self._start
        return End(status, self._told.phase, seconds, self._told.writes)

    def _run(self, arguments: Sequence[str], folder: pathlib.Path) -> int:
        at = self._kill.when if self._kill and self._kill.how == WRITE else None
        sys.addaudithook(functools.partial(self._audit, str(folder), at))
        told = self._told
        _announce(run_lib, "Reporter", lambda: told.put(phase="training"))
        _announce(window.MetricWindow, "add", lambda: told.put(phase="training"))
        _announce(checkpoints.Checkpointer, "restore", lambda: told.put(phase="restoring"))
        _announce(checkpoints.Checkpointer, "save", lambda: told.put(phase="saving"))
        _announce(evaluator.Evaluator, "run", lambda: told.put(phase="evaluation"))
        return cli.main(arguments)

    def _audit(self, folder: str, at: int | None, event: str, arguments: tuple) -> None:
        """Called by Python before a file operation, on any thread."""
        if event not in _WRITES or not str(arguments[0]).startswith(folder):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        writes = self._told.writes + 1
        self._told.put(writes=writes)
        if at is not None and writes == at:
            os.kill(os.getpid(), signal.SIGKILL)


def share_programs(folder: pathlib.Path) -> None:
    """Save what would be most of a life: compiling its programs, and AutoGraph.

    A life takes what an earlier one has compiled. The functions of its data have no control flow
    that AutoGraph would have to rewrite.
    """
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    autograph.tf_convert = lambda function, *_: function


def fork(work: Callable[[], int | None], log: pathlib.Path) -> int:
    """The id of a new process that does `work`, exits with what it returns, and prints to `log`."""
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        status = work() or 0
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(status)


def wait(process: int, until: float) -> int | None:
    """The status of a process (-N: signal N ended it); None if it still runs at `until`."""
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            return None
        time.sleep(0.005)


def _announce(owner: Any, name: str, tell: Callable[[], None]) -> None:
    """Makes `owner.name` tell that it is called."""
    plain = getattr(owner, name)

    @functools.wraps(plain)
    def announced(*args, **kwargs):
        tell()
        return plain(*args, **kwargs)

    setattr(owner, name, announced)
