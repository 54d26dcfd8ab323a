"""Shows a run as it goes: a live line on a terminal, plain lines in a log."""

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich import table

SECONDS_BETWEEN_LINES = 5.0
SCORE = "score"  # the mean key metric of the latest evaluation
_SHOWN_FIRST = ("loss", SCORE)
_SHORTEST_NAME = 4  # characters of the phase; fewer tell nothing
_BAR = (6, 24)  # the bar's width in characters: at least, at most


class Progress:
    """Phase, steps, loss, score, steps per second and time left, on stderr.

    Drawn only within `begin`, `update` and `log`, with numbers that the caller has already
    fetched, so a training step waits for nothing. On a terminal: only these, whatever its width.
    Without one: a plain line every few seconds at most, with all other metrics at its end, and
    always the first and the last.

        with Progress(total_steps=1000, description="teachers") as progress:
            ...
            progress.update(step, {"loss": 0.7, "score": 61.0, "grad_norm": 0.2})
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
        step = self._ticks[-1][0]
        self._view.start(step, self._description, [f"{step}/{self._total}"])
        return self

    def __exit__(self, *exc_info) -> None:
        self._view.stop()

    @property
    def steps_per_second(self) -> float:
        """The speed over the last few updates; 0 before the first."""
        (first, begun), (last, now) = self._ticks[0], self._ticks[-1]
        return (last - first) / (now - begun) if now > begun else 0.0

    def begin(self, step: int) -> None:
        """Shows that `step`, the first, is taken; its time, of compilation too, counts nowhere."""
        self._ticks.clear()
        self._ticks.append((step, self._clock()))
        self.update(step, {})

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Shows `step` and `metrics`; a metric that is not given keeps its last value."""
        if step != self._ticks[-1][0]:
            self._ticks.append((step, self._clock()))
        self._metrics.update(metrics)
        others = [each for each in self._metrics.items() if each[0] not in _SHOWN_FIRST]
        self._view.show(step, self._description, self._facts(step), _written(others))

    def log(self, line: str, details: str = "") -> None:
        """Prints `line` for good, above the live line; in a log `details` follow."""
        self._view.print(line, details)

    def _facts(self, step: int) -> list[str]:
        speed = self.steps_per_second
        left = f"ETA {_duration((self._total - step) / speed)}" if speed else "ETA ?"
        first = [(name, self._metrics[name]) for name in _SHOWN_FIRST if name in self._metrics]
        pace = f"{speed:.3g} steps/s" if speed else "? steps/s"
        return [f"{step}/{self._total}", *_written(first), pace, left]


def _written(metrics: Sequence[tuple[str, float]]) -> list[str]:
    return [f"{name} {value:.4g}" for name, value in metrics]


class _LogView:
    """Plain lines, few of them."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]):
        self._stream = stream
        self._clock = clock
        self._printed_at: float | None = None
        self._waiting: str | None = None

    def start(self, step: int, description: str, facts: Sequence[str]) -> None:
        """Nothing to tell yet."""

    def stop(self) -> None:
        if self._waiting is not None:
            self.print(self._waiting)
            self._waiting = None

    def show(
        self, step: int, description: str, facts: Sequence[str], others: Sequence[str]
    ) -> None:
        self._waiting = "  ".join([description, *facts, *others])
        now = self._clock()
        if self._printed_at is None or now - self._printed_at >= SECONDS_BETWEEN_LINES:
            self._printed_at = now
            self.stop()

    def print(self, line: str, details: str = "") -> None:
        print("  ".join(filter(None, [line, details])), file=self._stream, flush=True)


class _LiveView:
    """A bar and a line of facts, redrawn in place by rich."""

    def __init__(self, stream: TextIO, total_steps: int):
        from rich import console, live

        self._total = total_steps
        self._live = live.Live(
            console=console.Console(file=stream),
            auto_refresh=False,  # a thread would take time from the training loop
        )

    def start(self, step: int, description: str, facts: Sequence[str]) -> None:
        self._live.start()
        self.show(step, description, facts, [])

    def stop(self) -> None:
        self._live.stop()

    def show(
        self, step: int, description: str, facts: Sequence[str], others: Sequence[str]
    ) -> None:
        del others  # per task they would need lines
        line = _live_line(step, self._total, description, facts, self._live.console.width)
        self._live.update(line, refresh=True)

    def print(self, line: str, details: str = "") -> None:
        del details
        self._live.console.print(line, markup=False, highlight=False)


def _live_line(
    step: int, total: int, description: str, facts: Sequence[str], width: int
) -> "table.Table":
    """The facts whole; in what they leave of the line the bar, then the description.

    If no bar fits on their line, they go below it.
    """
    from rich import progress_bar, table, text

    least, most = _BAR
    told = "  ".join(facts)
    room = width - len(told) - 2
    below = room < least
    room = width if below else room
    name = text.Text(description)
    name.truncate(max(room - least - 1, 1), overflow="ellipsis")
    shown = [name, " "] if room - least > _SHORTEST_NAME else []
    bar = min(most, room - (name.cell_len + 1 if shown else 0))
    after = [] if below else ["  ", told]
    line = table.Table.grid()
    line.add_row(*shown, progress_bar.ProgressBar(total, step, width=bar), *after)
    lines = table.Table.grid()
    lines.add_row(line)
    for each in _wrapped(facts, width) if below else ():
        lines.add_row(each)
    return lines


def _wrapped(facts: Sequence[str], width: int) -> list[str]:
    """As many lines as needed, with no fact divided."""
    lines = [facts[0]]
    for fact in facts[1:]:
        if len(lines[-1]) + 2 + len(fact) <= width:
            lines[-1] += f"  {fact}"
        else:
            lines.append(fact)
    return lines


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {seconds:02d}s" if minutes else f"{seconds}s"
