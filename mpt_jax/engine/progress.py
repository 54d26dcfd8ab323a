"""Shows a run as it goes: a live line on a terminal, plain lines in a log."""

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TextIO

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Phase, steps, loss, steps per second, time left and the latest metrics, on stderr.

    Drawn only within `update` and `log`, with numbers that the caller has already fetched, so a
    training step waits for nothing. Without a terminal: one plain line every few seconds at
    most, and always the first and the last.

        with Progress(total_steps=1000, description="teachers") as progress:
            ...
            progress.update(step, {"loss": 0.7, "rte/accuracy": 61.0})
    """

    def __init__(
        self,
        total_steps: int,
        description: str,
        start_step: int = 0,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Begins at `start_step` (of a resumed run) of `total_steps`.

        Args:
            total_steps: the step at which the phase ends.
            description: the phase, in a word or two.
            start_step: the step that the run goes on from.
            stream: where to write; stderr unless given.
            clock: seconds; replaced in tests.
        """
        self._total = total_steps
        self._description = description
        self._clock = clock
        self._ticks: deque[tuple[int, float]] = deque([(start_step, clock())], maxlen=6)
        self._metrics: dict[str, float] = {}
        stream = stream or sys.stderr
        self._view = _LiveView(stream, total_steps) if stream.isatty() else _LogView(stream, clock)

    def __enter__(self) -> "Progress":
        self._view.start()
        return self

    def __exit__(self, *exc_info) -> None:
        self._view.stop()

    @property
    def steps_per_second(self) -> float:
        """The speed over the last few updates; 0 before the first."""
        (first, begun), (last, now) = self._ticks[0], self._ticks[-1]
        return (last - first) / (now - begun) if now > begun else 0.0

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Shows `step` and `metrics`; a metric that is not given keeps its last value."""
        if step != self._ticks[-1][0]:
            self._ticks.append((step, self._clock()))
        self._metrics.update(metrics)
        self._view.show(step, self._description, self._facts(step))

    def log(self, line: str) -> None:
        """Prints `line` for good, above the live line."""
        self._view.print(line)

    def _facts(self, step: int) -> str:
        speed = self.steps_per_second
        left = f"ETA {_duration((self._total - step) / speed)}" if speed else "ETA ?"
        metrics = [f"{name} {value:.4g}" for name, value in self._metrics.items()]
        return "  ".join([f"{step}/{self._total}", *metrics, f"{speed:.3g} steps/s", left])


class _LogView:
    """Plain lines, few of them."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]):
        self._stream = stream
        self._clock = clock
        self._printed_at: float | None = None
        self._waiting: str | None = None

    def start(self) -> None:
        """Nothing to draw yet."""

    def stop(self) -> None:
        if self._waiting is not None:
            self.print(self._waiting)
            self._waiting = None

    def show(self, step: int, description: str, facts: str) -> None:
        self._waiting = f"{description}  {facts}"
        now = self._clock()
        if self._printed_at is None or now - self._printed_at >= SECONDS_BETWEEN_LINES:
            self._printed_at = now
            self.stop()

    def print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class _LiveView:
    """A bar and a line of facts, redrawn in place by rich."""

    def __init__(self, stream: TextIO, total_steps: int):
        from rich import console, progress

        self._progress = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.TextColumn("{task.fields[facts]}", markup=False),
            console=console.Console(file=stream),
            auto_refresh=False,  # a thread would take time from the training loop
        )
        self._task = self._progress.add_task("", total=total_steps, facts="")

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.refresh()
        self._progress.stop()

    def show(self, step: int, description: str, facts: str) -> None:
        self._progress.update(
            self._task, completed=step, description=description, facts=facts, refresh=True
        )

    def print(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {seconds:02d}s" if minutes else f"{seconds}s"
