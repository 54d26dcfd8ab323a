"""A process that carries out run after run: jax is imported once, compiled programs are kept.

Each line of its standard input is a JSON object {"runs": [{"log": path, "commands": [[argument,
...], ...]}, ...]} with what follows `t5x` on each command line. The first commands of several runs,
their trainings, are carried out in one program. Each line of its output answers one: {"errors":
[null, ...]}, or for each run the first line of what went wrong. All that the commands print goes to
the log.

At the end of the input, as when the sweep was killed, the run that is going saves its state.
"""

import contextlib
import functools
import json
import os
import pathlib
import queue
import shlex
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from mpt_jax import cli
from mpt_jax.engine import interrupt, kept
from mpt_jax.errors import EXIT_INTERRUPTED, UserError
from mpt_jax.t5x import engines

if TYPE_CHECKING:
    from mpt_jax.engine.evaluation.answering import Answers
    from mpt_jax.engine.settings import Evaluation, Training

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
    rest = {run["log"]: run["commands"] for run in runs}
    errors: dict[str, str] = {}
    for together in (_train_together, _evaluate_together):
        going = {log: left[0] for log, left in rest.items() if left and log not in errors}
        found = together(going) if len(going) > 1 else None
        if found is None:
            break
        errors |= found
        rest = {log: commands[1:] for log, commands in rest.items()}
    for log, commands in rest.items():
        if log not in errors:
            errors |= _attempt(log, functools.partial(_carry_out, commands))
    return [errors.get(run["log"]) for run in runs]


def _carry_out(commands: list[list[str]]) -> None:
    for arguments in commands:
        print(f"$ {shlex.join(['t5x', *arguments])}", flush=True)
        cli.run(arguments)


def _train_together(commands: dict[str, list[str]]) -> dict[str, str] | None:
    """What went wrong with trainings, by log; None: they must be carried out one by one.

    Args:
        commands: by log.
    """
    first = _announce(commands)
    from mpt_jax.engine import loop  # what it prints is in the log

    failures: dict[str, Exception] = {}

    def train() -> None:
        try:
            loop.train_together(settings_of(command) for command in commands.values())
        except loop.RunsFailedError as error:
            print(f"t5x: error: {error}", flush=True)
            failures.update({os.path.abspath(f): why for f, why in error.failures.items()})

    if _attempt(first, train):
        return _one_by_one(first)
    errors = {}
    for log in commands:
        if error := failures.get(os.path.abspath(os.path.dirname(log))):
            errors |= _attempt(log, functools.partial(_fail, error))
    return errors


def _evaluate_together(commands: dict[str, list[str]]) -> dict[str, str] | None:
    """Of evaluations, likewise."""
    from mpt_jax.configuration import config
    from mpt_jax.engine import group_size
    from mpt_jax.engine.evaluation import evaluate, together

    if group_size.take_turns():
        return None
    first = _announce(commands)
    prepared: dict[str, evaluate.Prepared] = {}
    texts, errors = {}, {}
    for log, command in commands.items():

        def prepare(log=log, command=command) -> None:
            prepared[log] = evaluate.Prepared(settings_of(command))
            texts[log] = config.operative_config()

        errors |= _attempt(log, prepare)
    answers: dict[str, Answers] = {}
    if _attempt(first, lambda: answers.update(together.answers(prepared))):
        return _one_by_one(first)
    for log, each in prepared.items():
        errors |= _attempt(log, functools.partial(each.conclude, answers[log], texts[log]))
    return errors


def _announce(commands: dict[str, list[str]]) -> str:
    """Notes in each log where the output is; returns the log that takes it."""
    first, *others = commands
    for log, arguments in commands.items():
        with _output_in(log):
            line = shlex.join(["t5x", *arguments])
            print(f"$ {line}  # with {len(others)} others: see {first}", flush=True)
    return first


def _one_by_one(log: str) -> None:
    with _output_in(log):
        print("t5x: note: so they are carried out one by one.", flush=True)


def _fail(error: Exception) -> None:
    raise error


def _attempt(log: str, work: Callable[[], Any]) -> dict[str, str]:
    """Does the work, whose output the log takes; {log: what went wrong, in a line} if it fails."""
    with _output_in(log), _ending_by_signal():
        try:
            work()
        except (Exception, SystemExit) as error:  # whatever it was, the other runs go on
            return {log: _told(error)}
    return {}


def settings_of(arguments: list[str]) -> "Training | Evaluation":
    """What `t5x` would train or evaluate, under gin's configuration from here on."""
    with engines.withheld() as found:
        cli.run(arguments)
    return found[0]


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
