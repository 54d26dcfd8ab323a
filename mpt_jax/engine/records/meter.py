"""Measures what a run costs, over all of its starts: the "cost" of `run.json`."""

import contextlib
import functools
import pathlib
import re
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from etils import epath

from mpt_jax.engine.records import recorded_costs as of
from mpt_jax.errors import UserError
from mpt_jax.product import product_file

Span = tuple[float, float]  # from when to when, seconds of `time.monotonic`


class Meter:
    """Of one start of a run; in a run on several hosts each process measures itself.

    What a start has done after its last checkpoint does not count if it is killed.

    Args:
        batch_size: examples of a step.
        before: the record of a run that goes on; None: this is its first start. If it has no cost,
            that of the whole run cannot be known any more.
        clock: seconds; replaced in tests.
        compilations: spans of `clock` that went into compiling; None: jax's.

    Attributes:
        earlier: the cost of the starts before this one.
    """

    def __init__(
        self,
        batch_size: int,
        before: Mapping[str, Any] | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        compilations: Sequence[Span] | None = None,
    ):
        self.earlier = {} if before is None else of.of(before)
        self._is_whole = before is None or of.SECONDS in self.earlier
        self._batch_size = batch_size
        self._clock = clock
        self._compilations = _compilations() if compilations is None else compilations
        self._began = clock()
        self._steps, self._step_seconds = 0, 0.0
        self._since: tuple[int, float] | None = None
        self._runs = 1
        _forget_peak()
        self._peak_before = _peak_memory()[0]

    def share(self, others: Sequence["Meter"]) -> None:
        """The run goes on in one program with others, and has an equal share of its time.

        Args:
            others: the meters of all runs of the program, with this one.
        """
        self._runs = len(others)
        self._began = min(meter._began for meter in others)

    def go(self, step: int) -> None:
        """Training steps follow `step`; without effect where they already do."""
        if self._since is None:
            self._since = step, self._clock()

    def pause(self, step: int) -> None:
        """The steps up to `step` are taken, and the device is done with them."""
        if self._since is not None:
            first, began = self._since
            self._steps += step - first
            self._step_seconds += self._clock() - began - self._compiling(began)
            self._since = None

    def cost(self, model_dir: str) -> of.Cost:
        """The cost of the run up to now; empty where it is not known.

        A peak of memory that an earlier run of this process has reached is left out.

        Args:
            model_dir: the run folder; the file of its product, if it is there, is measured.
        """
        if not self._is_whole:
            return {}
        found = {
            of.SECONDS: (self._clock() - self._began) / self._runs,
            of.STEP_SECONDS: self._step_seconds / self._runs,
            of.COMPILE_SECONDS: self._compiling(self._began) / self._runs,
            of.STEPS: self._steps,
        }
        found = {name: value + self.earlier.get(name, 0) for name, value in found.items()}
        if found[of.STEP_SECONDS] > 0:
            examples = self._batch_size * found[of.STEPS]
            found[of.SPEED] = examples / found[of.STEP_SECONDS]
        peak, place = _peak_memory()
        peak = max(peak if peak > self._peak_before else 0, self.earlier.get(of.MEMORY, 0))
        if peak:
            found |= {of.MEMORY: peak, of.MEMORY_OF: place}
        try:
            size = epath.Path(product_file.resolve(model_dir)).stat().length
            return {**found, of.PRODUCT: size}
        except UserError:  # none yet; or a method of the user's own saves something else
            return found

    def _compiling(self, began: float) -> float:
        return sum(end - start for start, end in self._compilations if start >= began)


@functools.cache
def _compilations() -> list[Span]:
    """Of this process from now on: tracing, lowering and compiling; what holds another is one."""
    spans: list[Span] = []

    def heard(name: str, seconds: float, **_: Any) -> None:
        if name.startswith("/jax/core/compile/"):
            end = time.monotonic()
            while spans and spans[-1][0] >= end - seconds:
                spans.pop()
            spans.append((end - seconds, end))

    jax.monitoring.register_event_duration_secs_listener(heard)
    return spans


def _peak_memory() -> tuple[int, str]:
    """The most bytes in use at a time: on the fullest device of this host, else of the process."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    if peaks := [found["peak_bytes_in_use"] for found in stats if "peak_bytes_in_use" in found]:
        return max(peaks), of.DEVICE
    try:
        status = pathlib.Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024, of.HOST
    except (OSError, TypeError):  # not Linux
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, of.HOST


def _forget_peak() -> None:
    """Linux measures the peak of a process anew; one process carries out many runs of a sweep."""
    with contextlib.suppress(OSError):  # elsewhere only what is more than before counts
        pathlib.Path("/proc/self/clear_refs").write_text("5")
