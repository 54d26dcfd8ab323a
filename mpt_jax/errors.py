"""The one error type that a user sees: bad input, named, with its remedy."""

import difflib
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn


class UserError(Exception):
    """Bad input from outside (flag, gin name, file, shape, label, length).

    The message names the input, what was expected and what to do. The command line prints it
    alone, without a traceback, and exits with status 2.
    """


def did_you_mean(name: str, known: Iterable[str], count: int = 3) -> str:
    """A hint to append to a message about an unknown name: the nearest known names, or ""."""
    near = difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)
    return f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""


def run_script(main: Callable[[], int], name: str) -> NoReturn:
    """End the process with the status of `main`; bad input is one line, as it is of `t5x`."""
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"{name}: error: {error}")
