"""A process that carries out run after run: jax is imported once, compiled programs are kept.

Each line of its standard input is a JSON object {"log": path, "commands": [[argument, ...], ...]}
with what follows `t5x` on each command line. Each line of its output answers one: {"error": null},
or the first line of what went wrong. All that the commands print goes to the log.

At the end of the input, as when the sweep was killed, the run that is going saves its state.
"""

import json
import os
import pathlib
import queue
import shlex
import sys
import threading
import traceback

from mpt_jax import cli
from mpt_jax.engine import interrupt
from mpt_jax.errors import EXIT_INTERRUPTED, UserError


def main() -> None:
    """Answer every line; returns at the end of the input."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    jobs = queue.SimpleQueue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()
    while job := jobs.get():
        error = carry_out(job["commands"], pathlib.Path(job["log"]))
        print(json.dumps({"error": error}), file=answers, flush=True)


def _read(jobs: queue.SimpleQueue) -> None:
    """Hands over the jobs; the end of the input stops the one that is going."""
    for line in sys.stdin:
        jobs.put(json.loads(line))
    jobs.put(None)
    interrupt.ask_to_stop()


def carry_out(commands: list[list[str]], log: pathlib.Path) -> str | None:
    """Carry out the commands up to the first that fails.

    Args:
        commands: the arguments of each.
        log: file that from now on takes the output of this process; it is appended to.

    Returns:
        What went wrong, in a line.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    _send_output_to(log)
    try:
        with interrupt.ending_process("t5x: interrupted"):
            for arguments in commands:
                print(f"$ {shlex.join(['t5x', *arguments])}", flush=True)
                cli.run(arguments)
    except KeyboardInterrupt as stop:  # by SIGTERM; training has saved its state
        print(f"t5x: {' '.join(['interrupted:', *map(str, stop.args)])}", flush=True)
        sys.exit(EXIT_INTERRUPTED)
    except UserError as error:
        print(f"t5x: error: {error}", flush=True)
        return _first_line(error)
    except (Exception, SystemExit) as error:  # whatever it was, the other runs go on
        traceback.print_exc()
        return f"{type(error).__name__}: {_first_line(error)}"
    return None


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
