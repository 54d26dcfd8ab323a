"""Lines of a pipe as they come: whoever reads them can ask whether there is one more yet."""

import io
import os
import select
import time
from typing import BinaryIO

_CHUNK = 2**16  # bytes


class LineStream:
    """Reads lines of bytes from a pipe, a terminal or a file, with nothing kept back.

    Args:
        source: is read through its descriptor; where it has none, all of it counts as there.
    """

    def __init__(self, source: BinaryIO):
        self._source = source
        try:
            self._descriptor = source.fileno()
        except io.UnsupportedOperation:
            self._descriptor = None
        self._left = bytearray()
        self._ended = False

    def readline(self, limit: int) -> bytes:
        """The next line with its end, at most `limit` bytes of it; b"" at the end of the stream."""
        if self._descriptor is None:
            return self._source.readline(limit)
        while not self._has_line() and len(self._left) < limit:
            self._read()
        end = self._left.find(b"\n", 0, limit) + 1 or min(limit, len(self._left))
        line = bytes(self._left[:end])
        del self._left[:end]
        return line

    def has_line(self, seconds: float) -> bool:
        """Whether `readline` answers at once, now or before so many seconds have passed."""
        if self._descriptor is None:
            return True
        deadline = time.monotonic() + seconds
        while not self._has_line():
            wait = max(0.0, deadline - time.monotonic())
            if not select.select([self._descriptor], [], [], wait)[0]:
                return False
            self._read()
        return True

    def _has_line(self) -> bool:
        return self._ended or b"\n" in self._left

    def _read(self) -> None:
        chunk = os.read(self._descriptor, _CHUNK)
        self._left += chunk
        self._ended = not chunk
