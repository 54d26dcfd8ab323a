"""Requests of all clients, in batches: what waits, for how long, and what goes together."""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from mpt_jax.serve.answers import Unit
from mpt_jax.serve.metrics import Metrics
from mpt_jax.serve.programs import Programs
from mpt_jax.serve.refused import RefusedError


@dataclasses.dataclass(eq=False)
class _Request:
    """What is found for a request's units, until all of it is there."""

    found: list[Any]
    left: int
    done: asyncio.Future


@dataclasses.dataclass(eq=False)
class _Waiting:
    """A unit that waits for a batch."""

    request: _Request
    place: int  # among the request's units
    unit: Unit
    programs: Programs
    width: int  # of the narrowest batch that it fits into
    since: float  # on the loop's clock

    def goes_with(self, other: "_Waiting") -> bool:
        """Whether one program can answer both, where it is wide enough."""
        same_kind = (self.unit.labels is None) == (other.unit.labels is None)
        return same_kind and self.programs is other.programs


class Batcher:
    """Answers units in batches, one after the other, in a thread of its own.

    A batch begins when it is full, or when its oldest unit has waited for `wait` seconds. It has
    units of the oldest one's length; places that are left go to shorter ones.

    Args:
        metrics: are told of batches.
        size: units of a batch at most.
        wait: seconds.
        most: units that wait at most.
    """

    def __init__(self, metrics: Metrics, *, size: int, wait: float, most: int):
        self._metrics, self._size, self._wait, self.most = metrics, size, wait, most
        self._waiting: list[_Waiting] = []
        self._some, self._enough = asyncio.Event(), asyncio.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(1, "batches")
        metrics.queue.set_function(lambda: len(self._waiting))

    async def answer(self, programs: Programs, units: Sequence[Unit], deadline: float) -> list[Any]:
        """What is found for each unit of a request: a `Prediction`, or log-likelihoods [L].

        Args:
            programs: that answer them.
            units: at least one.
            deadline: on the loop's clock.

        Raises:
            RefusedError: too many wait, the deadline has passed, or the model has failed.
        """
        if len(self._waiting) + len(units) > self.most:
            raise RefusedError(429, f"{len(self._waiting):,} texts wait already: try again later.")
        loop = asyncio.get_running_loop()
        request = _Request([None] * len(units), len(units), loop.create_future())
        now = loop.time()
        self._set_waiting(
            self._waiting
            + [
                _Waiting(request, place, unit, programs, programs.width_of(unit.row), now)
                for place, unit in enumerate(units)
            ]
        )
        try:
            async with asyncio.timeout_at(deadline):
                await request.done
        except TimeoutError:
            self._set_waiting([each for each in self._waiting if each.request is not request])
            raise RefusedError(
                504, "no answer within the request's time: try again later."
            ) from None
        return request.found

    async def run(self) -> None:
        """Make batches and have them answered, until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._some.wait()
            if not self._waiting:  # given up in this moment
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._waiting[0].since + self._wait):
                    await self._enough.wait()
            if not (batch := self._take()):
                continue
            try:
                found = await loop.run_in_executor(self._pool, self._answer, batch)
            except Exception as error:  # whatever it is, others are to be answered
                self._metrics.failed(error)
                refusal = RefusedError(500, f"the model failed ({type(error).__name__}).")
                for request in {each.request for each in batch}:
                    if not request.done.done():
                        request.done.set_exception(refusal)
                continue
            for each, result in zip(batch, found, strict=True):
                request = each.request
                request.found[each.place] = result
                request.left -= 1
                if not request.left and not request.done.done():
                    request.done.set_result(None)

    def _set_waiting(self, waiting: list[_Waiting]) -> None:
        self._waiting = waiting
        for event, count in ((self._some, 1), (self._enough, self._size)):
            event.set() if len(waiting) >= count else event.clear()

    def _take(self) -> list[_Waiting]:
        """The units of the next batch, which then wait no longer."""
        if not self._waiting:  # the deadline of all has passed
            return []
        oldest = self._waiting[0]
        fitting = [each for each in self._waiting if each.goes_with(oldest)]
        batch = [each for each in fitting if each.width == oldest.width][: self._size]
        shorter = (each for each in fitting if each.width < oldest.width)
        places = oldest.programs.size_for(len(batch)) - len(batch)
        batch += [each for each, _ in zip(shorter, range(places), strict=False)]
        taken = set(map(id, batch))
        self._set_waiting([each for each in self._waiting if id(each) not in taken])
        return batch

    def _answer(self, batch: Sequence[_Waiting]) -> list[Any]:
        """What is found for each unit of a batch."""
        began = time.perf_counter()
        programs, width = batch[0].programs, batch[0].width
        rows = [each.unit.row for each in batch]
        if batch[0].unit.labels is None:
            found = programs.predict(rows, width)
        else:
            found = programs.rank(rows, [each.unit.labels for each in batch], width)
        self._metrics.answered(len(batch), time.perf_counter() - began)
        return found
