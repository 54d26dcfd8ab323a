"""Keeps the notes that TensorFlow's C++ code prints while it loads off the user's terminal.

They are written to file descriptor 2 before any of its settings (TF_CPP_MIN_LOG_LEVEL) can count.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator

from mpt_jax.errors import UserError

# Absl's format before its initialisation: severity, a date of zeros, the time since 1970.
_NOTE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\)|[IWE]0000 00:00:\d|"
    rb"To enable the following instructions:|"
    rb"Failed to find host bounds for accelerator type"  # the TPU compiler, away from TPUs
)


@contextlib.contextmanager
def notes_dropped() -> Iterator[None]:
    """Holds back stderr, Python's included; shows it at the end without the C++ notes.

    On an exception everything is shown: a note may tell why a library did not load. A `UserError`
    says itself what is wrong.
    """
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        drop = False
        try:
            yield
            drop = True
        except UserError:
            drop = True
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not (drop and _NOTE.match(line)):
                    os.write(2, line)
