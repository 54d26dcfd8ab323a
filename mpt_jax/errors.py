"""The one error type that a user sees: bad input, named, with its remedy."""

import difflib
import os
import pathlib
import select
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
_SHOWN = 100  # characters


class UserError(Exception):
    """Bad input from outside (flag, gin name, file, shape, label, length).

    The message names the input, what was expected and what to do. The command line prints it
    alone, without a traceback, and exits with status 2.
    """


def shown(text: str) -> str:
    """A text from outside in a message: quoted, and cut where it is long."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}... ({len(text):,} characters)"


def did_you_mean(name: str, known: Iterable[str], count: int = 3) -> str:
    """A hint to append to a message about an unknown name: the nearest known names, or "".

    Names that differ only in case come first. None for a known name, which is not what is wrong,
    and for what is too long to be a misspelt name: comparing takes the square of the length.
    """
    known = [candidate for candidate in known if len(candidate) <= _SHOWN]
    if len(name) > _SHOWN or name in known:
        return ""
    near = [each for each in known if each.casefold() == name.casefold()][:count]
    near = near or difflib.get_close_matches(name, known, n=count, cutoff=0.5)
    return f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""


def exit_status(main: Callable[[], int], name: str, command: Sequence[str]) -> int:
    """The exit status of `main`; bad input and an interruption are one line of standard error each.

    Whoever reads standard output may stop, as `head` does: then the command ends without a word.

    Args:
        main: carries out the command; KeyboardInterrupt says that its state is saved.
        name: of the program, before what it reports.
        command: what was typed, to be typed again after an interruption.
    """
    try:
        status = main()
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's own flush
        return 0
    except UserError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt as interrupt:
        print(interrupted(name, command, *map(str, interrupt.args)), file=sys.stderr)
        return EXIT_INTERRUPTED


def _reader_is_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def interrupted(name: str, command: Sequence[str], *saved: str) -> str:
    """The line that says so: of the program `name`, with what it has saved and what to type."""
    return f"{name}: {': '.join(['interrupted', *saved])}; to resume: {shlex.join(command)}"


def run_script(main: Callable[[], int]) -> NoReturn:
    """End the process, a script that calls this, with the status of `main`."""
    name = pathlib.Path(sys.argv[0]).stem
    sys.exit(exit_status(main, name, ["python", *sys.argv]))
