"""What goes into a batch, when it begins, and what becomes of requests that do not make it."""

import asyncio
import threading

import pytest

from mpt_jax.engine.inference.predictor import Row
from mpt_jax.serve.answers import Unit
from mpt_jax.serve.batching import Batcher
from mpt_jax.serve.metrics import Metrics
from mpt_jax.serve.refused import RefusedError

SIZE = 4


class Echo:
    """Programs that answer with the text; records batches as (kind, width, texts)."""

    def __init__(self):
        self.batches = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.failure = None

    def width_of(self, row):
        return 16 if len(row.text) < 16 else 64

    def size_for(self, count):
        return 1 if count == 1 else SIZE

    def predict(self, rows, width):
        return self._answer("predict", width, rows)

    def rank(self, rows, labels, width):
        return self._answer("rank", width, rows)

    def _answer(self, kind, width, rows):
        self.may_go.wait()
        self.batches.append((kind, width, [row.text for row in rows]))
        if self.failure:
            raise self.failure
        return [row.text for row in rows]


def unit(text, labels=None):
    return Unit(Row(text, [], 0, False), labels)


def run(work, wait=0.0, most=100):
    """`work(echo, ask)` while batches are made; `ask(*units, seconds=)` is a task."""

    async def main():
        echo, batcher = Echo(), Batcher(Metrics(), size=SIZE, wait=wait, most=most)
        making = asyncio.create_task(batcher.run())

        def ask(*units, seconds=30, programs=echo):
            deadline = asyncio.get_running_loop().time() + seconds
            return asyncio.create_task(batcher.answer(programs, units, deadline))

        try:
            await work(echo, ask)
        finally:
            echo.may_go.set()
            making.cancel()

    asyncio.run(main())


def test_requests_share_batches_and_each_gets_its_own():
    async def work(echo, ask):
        asked = [ask(unit("a"), unit("b")), ask(unit("c")), ask(unit("d"), unit("e"))]
        assert [await each for each in asked] == [["a", "b"], ["c"], ["d", "e"]]
        assert echo.batches == [("predict", 16, ["a", "b", "c", "d"]), ("predict", 16, ["e"])]

    run(work, wait=0.05)


def test_a_batch_is_of_one_kind_and_length_and_shorter_texts_fill_it_up():
    long = "x" * 20

    async def work(echo, ask):
        echo.may_go.clear()  # all wait behind the first
        asked = [ask(unit("first"))]
        await asyncio.sleep(0.05)
        asked += [ask(unit(long)), ask(unit("a"), unit("b")), ask(unit("c", ["yes"]))]
        asked += [ask(unit(long)), ask(unit("d"))]
        await asyncio.sleep(0)
        echo.may_go.set()
        await asyncio.gather(*asked)
        assert echo.batches[1:] == [
            ("predict", 64, [long, long, "a", "b"]),
            ("rank", 16, ["c"]),
            ("predict", 16, ["d"]),
        ]

    run(work)


def test_banks_do_not_mix():
    async def work(echo, ask):
        other = Echo()
        await asyncio.gather(ask(unit("a")), ask(unit("b"), programs=other), ask(unit("c")))
        assert echo.batches == [("predict", 16, ["a", "c"])]
        assert other.batches == [("predict", 16, ["b"])]

    run(work, wait=0.05)


def test_a_full_batch_does_not_wait():
    async def work(echo, ask):
        async with asyncio.timeout(10):
            await ask(*[unit("a")] * SIZE)

    run(work, wait=60)


def test_a_full_queue_and_a_deadline_that_passes():
    async def work(echo, ask):
        echo.may_go.clear()
        first = ask(unit("first"))
        await asyncio.sleep(0.05)
        late = ask(unit("a"), unit("b"), seconds=0.05)
        await asyncio.sleep(0)
        with pytest.raises(RefusedError, match="2 texts wait already") as refused:
            await ask(unit("c"), unit("d"))
        assert refused.value.status == 429
        with pytest.raises(RefusedError, match="no answer within") as refused:
            await late
        assert refused.value.status == 504
        last = ask(unit("c"), unit("d"))  # there is room again
        echo.may_go.set()
        assert await first == ["first"] and await last == ["c", "d"]
        assert [texts for *_, texts in echo.batches] == [["first"], ["c", "d"]]

    run(work, most=3)


def test_a_batch_that_fails_is_not_the_end(capsys):
    async def work(echo, ask):
        echo.failure = RuntimeError("out of memory\nand more")
        with pytest.raises(RefusedError, match=r"the model failed \(RuntimeError\)") as refused:
            await ask(unit("a"))
        assert refused.value.status == 500
        echo.failure = None
        assert await ask(unit("b")) == ["b"]

    run(work)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "t5x: warning: a batch failed: RuntimeError: out of memory"
