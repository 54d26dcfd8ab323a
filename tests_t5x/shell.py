"""Commands as a user types them: each test of an engine is a process that starts fresh.

In a process that has imported T5X before, gin and SeqIO are in another state.
"""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
SECONDS = 900  # for one command, on a busy machine


def run(*command: str) -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of `python COMMAND...` among the tests."""
    path = [
        HERE.parent / "tests/support",
        HERE,
        *os.environ.get("PYTHONPATH", "").split(os.pathsep),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(p) for p in path if str(p))}
    process = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    return process.returncode, process.stdout, process.stderr


def t5x(*arguments: str) -> tuple[int, str, str]:
    """The `t5x` command's exit status, standard output and standard error."""
    return run("-m", "mpt_jax.cli", *arguments)


def succeeds(*arguments: str) -> str:
    """What a `t5x` command prints; fails the test where it does not end well."""
    status, out, err = t5x(*arguments)
    assert status == 0, err[-3000:]
    return out
