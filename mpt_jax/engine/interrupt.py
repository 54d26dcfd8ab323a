"""Ctrl-C and SIGTERM, from the first line of a command to its last.

Python raises KeyboardInterrupt wherever the main thread is: also within a callback of native code,
which may drop it; and as long as native code works, not at all. So a separate thread hears of a
signal. It ends the process; or, where there is state to save, raises the flag that the loop asks.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from mpt_jax.errors import EXIT_INTERRUPTED

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_line: bytes | None = None  # what a process says that a signal ends; None: that is not its way
_stderr = 2
_flag: "InterruptFlag | None" = None  # of the loop that is running


class InterruptFlag:
    """Context manager; true once a signal came, so that a run stops between two steps and saves.

    A second signal stops at once: it ends the process under `ending_process`, and else, as in a
    notebook, raises KeyboardInterrupt. TPU pods announce preemption by SIGTERM. Without
    `ending_process`, outside of the main thread, where Python allows no signal handlers, it stays
    false.
    """

    def __init__(self):
        self._raised = False
        self._previous = {}

    def __bool__(self) -> bool:
        return self._raised

    def __enter__(self) -> "InterruptFlag":
        global _flag
        self._outer, _flag = _flag, self
        if _line is None and threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *exc_info) -> None:
        global _flag
        _flag = self._outer
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def raise_once(self) -> bool:
        """Makes it true; returns whether it was false before."""
        before, self._raised = self._raised, True
        return not before

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.raise_once():
            raise KeyboardInterrupt


@contextlib.contextmanager
def ending_process(line: str) -> Iterator[None]:
    """Within the block a signal ends the process at once, with `line` and status 130.

    Only the first one during an `InterruptFlag` does not. Outside of the main thread nothing
    changes.
    """
    global _line, _stderr
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    _line, _stderr = f"{line}\n".encode(), os.dup(2)  # 2 is led elsewhere at times
    handlers = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=_listen, args=(reader,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        writer.close()
        thread.join()
        reader.close()
        os.close(_stderr)
        _line = None


def ask_to_stop() -> None:
    """What a signal does to a process under `ending_process`; nothing where one came before."""
    if _flag is not None:
        _flag.raise_once()
    elif _line is not None:
        _end()


def _listen(reader: socket.socket) -> None:
    for number in iter(lambda: reader.recv(1), b""):
        if number[0] in SIGNALS and not (_flag is not None and _flag.raise_once()):
            _end()


def _end() -> NoReturn:
    if os.isatty(_stderr):
        os.write(_stderr, b"\x1b[?25h")  # the cursor, which a progress bar hides
    os.write(_stderr, _line)
    os._exit(EXIT_INTERRUPTED)
