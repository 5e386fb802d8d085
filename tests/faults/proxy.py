"""An HTTP proxy before Elasticsearch that fails in the ways that are asked of it, and counts what it saw."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import Future
from io import BytesIO
from typing import Any, NamedTuple, Self

import aiohttp
import orjson
from aiohttp import web

from .bulk_traffic import Item, Traffic, keep, merge, swap

_ANSWER = "application/vnd.elasticsearch+json;compatible-with=8"


class Fault(NamedTuple):
    """What goes wrong; shares are of `_bulk` requests (or their items), all else goes through."""

    items_refused: float = 0
    """Share of the items that are answered 429 or 503 and never reach the server."""
    requests_refused: float = 0
    """Share of the requests that are answered 429 (with Retry-After: 0) or 503 as a whole."""
    reset: float = 0
    """Share of the requests that are applied, after which the connection is reset."""
    truncated: float = 0
    """Share of the requests that are applied and whose answer ends in the middle."""
    mismatched: float = 0
    """Share of the requests that are applied and whose answer lacks an item, or has two swapped."""
    delay_s: float = 0
    """Seconds that every request waits first."""
    stalled: bool = False
    """Nothing is answered until this fault is over; what came in goes on then."""
    max_bytes: int = 64 << 20
    """A larger request is answered 413."""
    unauthorized: bool = False
    """Everything is answered 401."""


class Proxy:
    """Listens on a loopback port, in a thread of its own; use it as a context manager.

    `fault` may be changed at any time, from any thread. Its choices follow the seed, request by
    request as they come.
    """

    def __init__(self, upstream: str, seed: int) -> None:
        self.fault = Fault()
        self.counts: Counter[str] = Counter()
        """Requests, and those that were failed on purpose by the kind of failure."""
        self.traffic = Traffic()
        self.url = ""
        self._upstream = upstream
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start()).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.fault = Fault()
        self._run(self._stop()).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> "Future[None]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=64), headers={"Accept-Encoding": "identity"}
        )
        app = web.Application(client_max_size=256 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        assert self._runner is not None
        assert self._session is not None
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.counts["requests"] += 1
        if self.fault.delay_s:
            await asyncio.sleep(self.fault.delay_s)
        if self.fault.stalled:
            self.counts["stalled"] += 1
            while self.fault.stalled:
                await asyncio.sleep(0.05)
        fault = self.fault
        if fault.unauthorized:
            return self._refuse(401, "security_exception", "missing authentication credentials")
        if len(body) > fault.max_bytes:
            return self._refuse(413, "", "Request Entity Too Large")
        if request.path != "/_bulk":
            status, answer = await self._forward(request, body)
            return web.Response(status=status, body=answer, headers=_headers())
        return await self._bulk(request, body, fault)

    async def _bulk(self, request: web.Request, body: bytes, fault: Fault) -> web.StreamResponse:
        items = self.traffic.received(body)
        if self._random.random() < fault.requests_refused:
            status = self._random.choice((429, 503))
            return self._refuse(status, "es_rejected_execution_exception", "queue is full")
        statuses = [self._random.choice((429, 503)) for _ in items]
        refused = {
            at: status
            for at, status in enumerate(statuses)
            if self._random.random() < fault.items_refused
        }
        self.counts["items refused"] += len(refused)
        status, answer = 200, b'{"errors":false,"took":0,"items":[]}'
        if len(refused) < len(items):
            status, answer = await self._forward(request, keep(body, refused))
        if status != 200:
            self.counts[f"upstream {status}"] += 1
            return web.Response(status=status, body=answer, headers=_headers())
        answer = merge(answer, items, refused)
        return await self._answer(request, items, answer, fault)

    async def _answer(
        self, request: web.Request, items: list[Item], answer: bytes, fault: Fault
    ) -> web.StreamResponse:
        """Hand over what the server answered, or spoil it: the outcome is then unknown."""
        if self._random.random() < fault.reset:
            self.counts["reset"] += 1
            self.traffic.unknown(items)
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if self._random.random() < fault.truncated:
            self.counts["truncated"] += 1
            self.traffic.unknown(items)
            return await _send_half(request, answer)
        if self._random.random() < fault.mismatched:
            self.counts["mismatched"] += 1
            self.traffic.unknown(items)
            return web.Response(body=swap(answer, self._random), headers=_headers())
        self.traffic.answered(items, orjson.loads(answer))
        return web.Response(body=answer, headers=_headers())

    async def _forward(self, request: web.Request, body: bytes) -> tuple[int, bytes]:
        assert self._session is not None
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() in ("accept", "content-type", "authorization")
        }
        url = f"{self._upstream}{request.raw_path}"
        try:
            async with self._session.request(
                request.method, url, data=BytesIO(body) if body else None, headers=headers
            ) as response:
                return response.status, await response.read()
        except aiohttp.ClientError:  # as a load balancer says it
            return 502, b""

    def _refuse(self, status: int, kind: str, reason: str) -> web.Response:
        self.counts[f"answered {status}"] += 1
        error = {"type": kind, "reason": reason}
        body = orjson.dumps({"error": error, "status": status}) if kind else reason.encode()
        retry = {"Retry-After": "0"} if status == 429 else {}
        return web.Response(status=status, body=body, headers=_headers() | retry)


def _headers() -> dict[str, str]:
    return {"Content-Type": _ANSWER, "X-Elastic-Product": "Elasticsearch"}


async def _send_half(request: web.Request, answer: bytes) -> web.StreamResponse:
    headers = _headers() | {"Content-Length": str(len(answer))}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(answer[: len(answer) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
