"""Carries out runs in worker processes: each as soon as the one that it needs is finished."""

import contextlib
import dataclasses
import pathlib
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType

from mpt_jax.sweep import groups
from mpt_jax.sweep.cells import Run
from mpt_jax.sweep.pool import Pool


@dataclasses.dataclass
class Outcome:
    """What became of runs.

    Attributes:
        finished: names.
        failed: the run and what went wrong, in a line.
        not_run: name -> name of the failed run that it would have needed.
    """

    finished: list[str] = dataclasses.field(default_factory=list)
    failed: list[tuple[Run, str]] = dataclasses.field(default_factory=list)
    not_run: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def faults(self) -> str:
        """What failed and why, and what was not run as a result; "" if all runs are finished."""
        lines = []
        if self.failed:
            lines.append(f"{_count(len(self.failed))} failed:")
        for run, error in self.failed:
            lines += [f"  {run.name}: {error}", f"    log: {run.log}"]
        for name in dict.fromkeys(self.not_run.values()):
            cells = [cell for cell, needs in self.not_run.items() if needs == name]
            lines.append(f"{_count(len(cells))} not started, because they need {name}:")
            lines += [f"  {cell}" for cell in cells]
        return "\n".join(lines)


def carry_out(
    runs: Sequence[Run], processes: int, compiled: pathlib.Path, together: int = 1
) -> Outcome:
    """Carry out `runs` and print, line by line, how far it is.

    Args:
        runs: each behind the one that it needs; one that is not among them is finished.
        processes: how many runs, or groups of runs, at a time.
        compiled: folder of compiled programs, for all of them and for the next call.
        together: so many cells at most are trained in one program, see `groups.of`.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the runs have saved their state.
    """
    outcome, waiting = Outcome(), groups.of(runs, together, processes)
    unfinished = {run.name for run in runs}
    started = {}
    try:
        with _sigterm_interrupts(), Pool(processes, compiled) as pool:
            while waiting or pool.is_busy():
                for group in [g for g in waiting if unfinished.isdisjoint(_needs(g))]:
                    if pool.has_room():
                        waiting.remove(group)
                        started[group] = time.monotonic()
                        pool.start(group)
                group, errors = pool.wait()
                seconds = (time.monotonic() - started[group]) / len(group)
                for run, error in zip(group, errors, strict=True):
                    if error is None:
                        outcome.finished.append(run.name)
                        unfinished.remove(run.name)
                    else:
                        outcome.failed.append((run, error))
                        waiting = _without_those_that_need(run, waiting, outcome)
                    _print(run, error, seconds, outcome, len(runs))
    except KeyboardInterrupt:
        done = f"{len(outcome.finished)} of {_count(len(runs))} finished"
        raise KeyboardInterrupt(done) from None
    return outcome


def _needs(group: Sequence[Run]) -> set[str | None]:
    return {run.after for run in group}


def _without_those_that_need(
    failed: Run, waiting: Sequence[Sequence[Run]], outcome: Outcome
) -> list[tuple[Run, ...]]:
    """Moves the runs that need `failed`, directly or not, to the outcome; returns the others."""
    kept = []
    for group in waiting:
        left = []
        for run in group:
            if run.after == failed.name or run.after in outcome.not_run:
                outcome.not_run[run.name] = failed.name
            else:
                left.append(run)
        if left:
            kept.append(tuple(left))
    return kept


def _print(run: Run, error: str | None, seconds: float, outcome: Outcome, total: int) -> None:
    ended = len(outcome.finished) + len(outcome.failed) + len(outcome.not_run)
    what = f"{seconds:.0f} s" if error is None else f"FAILED: {error}"
    print(f"[{ended}/{total}] {run.name}: {what}", flush=True)


def _count(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Has SIGTERM raise KeyboardInterrupt, as Ctrl-C does; outside of the main thread: nothing."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
