"""Ctrl-C and SIGTERM as a flag, so that a run stops between two steps and saves."""

import signal
import threading
from types import FrameType


class InterruptFlag:
    """Context manager; true once a signal came. A second Ctrl-C stops at once.

    TPU pods announce preemption by SIGTERM. Outside of the main thread, where Python allows no
    signal handlers, it stays false.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self):
        self._raised = False
        self._previous = {}

    def __bool__(self) -> bool:
        return self._raised

    def __enter__(self) -> "InterruptFlag":
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._handle) for s in self.SIGNALS}
        return self

    def __exit__(self, *exc_info) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._raised:
            raise KeyboardInterrupt
        self._raised = True
