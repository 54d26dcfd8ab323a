"""A process that carries out run after run: jax is imported once, compiled programs are kept.

Each line of its standard input is a JSON object {"runs": [{"log": path, "commands": [[argument,
...], ...]}, ...]} with what follows `t5x` on each command line. The first commands of several runs,
their trainings, are carried out in one program. Each line of its output answers one: {"errors":
[null, ...]}, or for each run the first line of what went wrong. All that the commands print goes to
the log.

At the end of the input, as when the sweep was killed, the run that is going saves its state.
"""

import contextlib
import json
import os
import pathlib
import queue
import shlex
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mpt_jax import cli
from mpt_jax.engine import interrupt, kept
from mpt_jax.errors import EXIT_INTERRUPTED, UserError
from mpt_jax.t5x import engines

if TYPE_CHECKING:
    from mpt_jax.engine.settings import Training

Work = dict[str, Any]


def main() -> None:
    """Answer every line; returns at the end of the input."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    jobs = queue.SimpleQueue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()
    with kept.keeping():
        while job := jobs.get():
            print(json.dumps({"errors": carry_out(job["runs"])}), file=answers, flush=True)


def _read(jobs: queue.SimpleQueue) -> None:
    """Hands over the jobs; the end of the input stops the one that is going."""
    for line in sys.stdin:
        jobs.put(json.loads(line))
    jobs.put(None)
    interrupt.ask_to_stop()


def carry_out(runs: list[Work]) -> list[str | None]:
    """Carry out the commands of each run up to the first that fails.

    Args:
        runs: "log": file that takes the output of this process; it is appended to; "commands": the
            arguments of each.

    Returns:
        What went wrong with each, in a line.
    """
    trained: list[str | None] | None = None
    if len(runs) > 1:
        trained = _train_together(runs)
    if trained is None:
        return [_carry_out(run["commands"], run["log"]) for run in runs]
    return [
        error or _carry_out(run["commands"][1:], run["log"])
        for run, error in zip(runs, trained, strict=True)
    ]


def _carry_out(commands: list[list[str]], log: str) -> str | None:
    with _output_in(log), _ending_by_signal():
        try:
            for arguments in commands:
                print(f"$ {shlex.join(['t5x', *arguments])}", flush=True)
                cli.run(arguments)
        except (Exception, SystemExit) as error:  # whatever it was, the other runs go on
            return _told(error)
    return None


def _train_together(runs: list[Work]) -> list[str | None] | None:
    """What went wrong with the training of each; None: they must be trained one by one."""
    for run in runs:
        with _output_in(run["log"]):
            line = shlex.join(["t5x", *run["commands"][0]])
            print(f"$ {line}  # with {len(runs) - 1} others: see {runs[0]['log']}", flush=True)
    with _output_in(runs[0]["log"]), _ending_by_signal():
        from mpt_jax.engine import loop

        try:
            loop.train_together(settings_of(run["commands"][0]) for run in runs)
        except loop.RunsFailedError as error:
            print(f"t5x: error: {error}", flush=True)
            failures = {os.path.abspath(folder): why for folder, why in error.failures.items()}
            return [_of(failures, run) for run in runs]
        except (Exception, SystemExit) as error:
            _told(error)
            print("t5x: note: so they are trained one by one.", flush=True)
            return None
    return [None] * len(runs)


def settings_of(arguments: list[str]) -> "Training":
    """What `t5x train` would train, under gin's configuration from here on."""
    with engines.withheld() as found:
        cli.run(arguments)
    return found[0]


def _of(failures: dict[str, Exception], run: Work) -> str | None:
    error = failures.get(os.path.abspath(os.path.dirname(run["log"])))
    if error is None:
        return None
    with _output_in(run["log"]):
        return _told(error)


def _told(error: BaseException) -> str:
    """What went wrong, in a line; the log has all of it."""
    if isinstance(error, UserError):
        print(f"t5x: error: {error}", flush=True)
        return _first_line(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {_first_line(error)}"


@contextlib.contextmanager
def _ending_by_signal() -> Iterator[None]:
    """Within it a signal ends this process, once what is going is saved."""
    try:
        with interrupt.ending_process("t5x: interrupted"):
            yield
    except KeyboardInterrupt as stop:  # by SIGTERM; training has saved its state
        print(f"t5x: {' '.join(['interrupted:', *map(str, stop.args)])}", flush=True)
        sys.exit(EXIT_INTERRUPTED)


@contextlib.contextmanager
def _output_in(log: str) -> Iterator[None]:
    """From here on the output goes to that log."""
    path = pathlib.Path(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    _send_output_to(path)
    yield


def _send_output_to(log: pathlib.Path) -> None:
    """Points the file descriptors at the log, since native code writes to them too."""
    with log.open("a", encoding="utf-8") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")


if __name__ == "__main__":
    main()
