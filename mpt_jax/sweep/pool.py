"""Worker processes (`worker`): each carries out a run, or runs together, at a time.

One that dies is replaced.
"""

import contextlib
import json
import os
import pathlib
import selectors
import subprocess
import sys
from collections.abc import Sequence

from mpt_jax import lock
from mpt_jax.sweep.cells import Run

# -P: the working directory comes last among the places of modules, as for the `t5x` command.
_PROGRAM = [sys.executable, "-P", "-m", "mpt_jax.sweep.worker"]


class Pool:
    """Context manager; at the end of the block the workers end.

    A run that is still going then is told to save its state (SIGTERM), and waited for.
    """

    def __init__(self, processes: int, compiled: pathlib.Path):
        """Starts no process yet.

        Args:
            processes: how many at most.
            compiled: folder of the compiled programs, which all workers share.
        """
        self._processes = processes
        self._environment = _environment(processes, compiled)
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *exc_info) -> None:
        workers = [*self._idle, *self._busy]
        try:
            for worker in self._busy:
                worker.process.terminate()
            for worker in workers:
                worker.end()
        except KeyboardInterrupt:  # a second Ctrl-C waits for nothing
            for worker in workers:
                worker.process.kill()
            raise

    def is_busy(self) -> bool:
        """Whether there is a job to wait for."""
        return bool(self._busy)

    def has_room(self) -> bool:
        """Whether another job can start."""
        return len(self._busy) < self._processes

    def start(self, runs: Sequence[Run]) -> None:
        """Give a job to a worker: a run, or several that are trained together."""
        worker = self._idle.pop() if self._idle else _Worker(self._environment)
        self._busy.append(worker)
        worker.start(runs)

    def wait(self) -> tuple[Sequence[Run], list[str | None]]:
        """Wait until a job ends; returns its runs, and what went wrong with each."""
        with selectors.DefaultSelector() as selector:
            for worker in self._busy:
                selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
            worker = selector.select()[0][0].data
        runs, errors, is_alive = worker.answer()
        self._busy.remove(worker)
        if is_alive:
            self._idle.append(worker)
        return runs, errors


class _Worker:
    """A process and the job that it was given last."""

    def __init__(self, environment: dict[str, str]):
        self.process = subprocess.Popen(
            _PROGRAM,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # a Ctrl-C reaches only the sweep, which passes it on once
            pass_fds=lock.descriptors(),  # the sweep's folder is taken until its workers have ended
        )
        self._runs: Sequence[Run] = ()

    def start(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        job = [{"log": str(r.log), "commands": [step.arguments for step in r.steps]} for r in runs]
        with contextlib.suppress(BrokenPipeError):  # it has died: `answer` will find out
            print(json.dumps({"runs": job}), file=self.process.stdin, flush=True)

    def answer(self) -> tuple[Sequence[Run], list[str | None], bool]:
        """The runs, what went wrong with each, and whether the process is still there."""
        line = self.process.stdout.readline()
        if line:
            return self._runs, json.loads(line)["errors"], True
        self.end()
        died = f"its process ended with status {self.process.returncode}"
        return self._runs, [died] * len(self._runs), False

    def end(self) -> None:
        """Let the process end by itself, after the run that it may have."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def _environment(processes: int, compiled: pathlib.Path) -> dict[str, str]:
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str(compiled.absolute()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        **os.environ,
    }
    if processes > 1:
        # On a CPU two single-threaded workers do more than one worker with two threads.
        flags = (environment.get("XLA_FLAGS", ""), "--xla_cpu_multi_thread_eigen=false")
        environment["XLA_FLAGS"] = " ".join(flags).strip()
    return environment
