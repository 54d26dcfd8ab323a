"""The pages of the server: requests in, JSON out."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mpt_jax.errors import UserError, did_you_mean
from mpt_jax.serve import answers, requests
from mpt_jax.serve.bank import PERIOD, Bank
from mpt_jax.serve.batching import Batcher
from mpt_jax.serve.metrics import Metrics
from mpt_jax.serve.refused import RefusedError

_Page = Callable[[Request], Awaitable[Response]]


class Pages:
    """What is answered on each path.

    Args:
        bank: answers; may be replaced.
        batcher: brings requests together.
        metrics: are told of requests.
        timeout: seconds until a request is given up, unless it says less.
        max_body: bytes of a request at most.
    """

    def __init__(
        self, bank: Bank, batcher: Batcher, metrics: Metrics, *, timeout: float, max_body: int
    ):
        self._bank, self._batcher, self._metrics = bank, batcher, metrics
        self._timeout, self._max_body = timeout, max_body
        self._methods = {
            "/predict": ("POST", self._predict),
            "/score": ("POST", self._score),
            "/tasks": ("GET", self._tasks),
            "/health": ("GET", self._health),
            "/metrics": ("GET", self._show_metrics),
        }

    def app(self) -> Starlette:
        """The application for a server."""
        routes = [
            Route(path, self._counted(path, page), methods=[method])
            for path, (method, page) in self._methods.items()
        ]
        unknown = self._counted("other", self._unknown)

        async def refuse(request: Request, error: HTTPException) -> Response:
            return await unknown(request)

        async def fail(request: Request, error: Exception) -> Response:
            return _error(500, f"the server failed ({type(error).__name__}); its log says where.")

        return Starlette(
            routes=routes,
            exception_handlers={HTTPException: refuse, Exception: fail},
            lifespan=self._working,
        )

    @contextlib.asynccontextmanager
    async def _working(self, app: Starlette) -> AsyncIterator[None]:
        """Within it batches are made, and the bank is watched."""
        tasks = [asyncio.create_task(work) for work in (self._batcher.run(), self._watch())]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            await asyncio.to_thread(self._bank.look)

    def _counted(self, path: str, page: _Page) -> _Page:
        """The page, with what it refuses as JSON, and told to the metrics."""

        async def answer(request: Request) -> Response:
            began = time.perf_counter()
            try:
                response = await page(request)
            except UserError as error:
                response = _error(400, str(error))
            except RefusedError as error:
                response = _error(error.status, str(error))
            self._metrics.requested(path, response.status_code, time.perf_counter() - began)
            return response

        return answer

    async def _predict(self, request: Request) -> Response:
        return await self._answer(request, scoring=False)

    async def _score(self, request: Request) -> Response:
        return await self._answer(request, scoring=True)

    async def _answer(self, request: Request, *, scoring: bool) -> Response:
        began = asyncio.get_running_loop().time()
        body = await self._body(request)
        programs = self._bank.programs
        # In a thread: tokens of long texts take a while, and others are answered meanwhile.
        asked = await asyncio.to_thread(requests.read, body, programs, scoring=scoring)
        units = answers.units(asked)
        if len(units) > self._batcher.most:
            raise UserError(
                f"a request of {len(units):,} texts (or parts of their labels), and at most "
                f"{self._batcher.most:,} wait: send several."
            )
        deadline = began + min(self._timeout, asked.timeout or self._timeout)
        found = await self._batcher.answer(programs, units, deadline)
        return JSONResponse(answers.content(asked, found))

    async def _body(self, request: Request) -> bytes:
        """The body, which is read only as far as it may be."""
        stated = request.headers.get("content-length", "0")
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout):
                if int(stated) <= self._max_body:
                    async for part in request.stream():
                        body += part
                        if len(body) > self._max_body:
                            break
                    else:
                        return bytes(body)
        except TimeoutError:
            raise RefusedError(408, f"no whole body within {self._timeout:g} seconds.") from None
        except ClientDisconnect:
            raise RefusedError(400, "the body ended early.") from None
        raise RefusedError(
            413, f"the body has more than {self._max_body:,} bytes: send less at a time."
        )

    async def _tasks(self, request: Request) -> Response:
        t5 = self._bank.programs.t5
        info = t5.info
        tasks = [
            {
                "task": task,
                "label_words": list(info.label_words.get(task, ())),
                "input_form": info.input_forms.get(task),
            }
            for task in t5.tasks
        ]
        return JSONResponse({"tasks": tasks, "lengths": t5.lengths})

    async def _health(self, request: Request) -> Response:
        bank = self._bank
        return JSONResponse(
            {
                "status": "ok" if bank.refused is None else "old prompts",
                "prompts": bank.file,
                "tasks": len(bank.programs.t5.tasks),
                "since": round(bank.since, 3),
                "refused": bank.refused,
            }
        )

    async def _show_metrics(self, request: Request) -> Response:
        text, kind = self._metrics.text()
        return Response(text, headers={"content-type": kind})

    async def _unknown(self, request: Request) -> Response:
        path = request.url.path
        if path in self._methods:
            method = self._methods[path][0]
            return _error(405, f"{path} is asked by {method}.", allow=method)
        raise RefusedError(
            404,
            f"there is no {path[:100]!r}.{did_you_mean(path, self._methods)} There are "
            f"{', '.join(self._methods)}.",
        )


def _error(status: int, message: str, **headers: Any) -> Response:
    if status == 429:
        headers["retry-after"] = "1"
    if status in (408, 413):  # the rest of the body is not read
        headers["connection"] = "close"
    return JSONResponse({"error": message}, status, headers)
