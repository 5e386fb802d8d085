"""A fake of Elasticsearch at the level of the protocol, and a sink that writes to it.

It is a real HTTP server on loopback whose answers the test gives, because a real node cannot be
made to give most of them on demand. That a real node is understood is for
tests/integration/test_elasticsearch_sink.py.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from enricher.connections import ElasticsearchConnection
from enricher.model import Document
from enricher.sinks.elasticsearch import ElasticsearchSink
from enricher.waiting import Backoff

CONFLICT = "version_conflict_engine_exception"
SOON = Backoff(base_s=0.001, cap_s=0.002, longest_hint_s=0.05)

Bulk = list[tuple[dict[str, Any], bytes]]
"""A request's pairs of action and body."""


@dataclass
class Fake:
    """A server whose answers are given by the test, one for each request; then it says yes."""

    answers: list[Callable[[Bulk], Any]] = field(default_factory=list)
    requests: list[list[str]] = field(default_factory=list)
    """The ids of each request."""
    seen: list[web.Request] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)
    url: str = ""

    async def bulk(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        lines = (await request.read()).split(b"\n")
        pairs = [
            (next(iter(orjson.loads(action).values())), body)
            for action, body in zip(lines[:-1:2], lines[1::2], strict=True)
        ]
        self.requests.append([action["_id"] for action, _ in pairs])
        answer = self.answers.pop(0) if self.answers else accepted
        response = answer(pairs)
        if inspect.isawaitable(response):
            response = await response
        if response is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if answer is accepted:
            self.stored.update({action["_id"]: body for action, body in pairs})
        return response

    async def root(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        return self.answers.pop(0)([]) if self.answers else web.json_response({})


def items(pairs: Bulk, *results: tuple[int, str]) -> web.Response:
    """Answer with a status and an error type for each item."""
    said: list[dict[str, Any]] = []
    for (action, _), (status, kind) in zip(pairs, results, strict=True):
        item: dict[str, Any] = {"_id": action["_id"], "status": status}
        if kind:
            item["error"] = {"type": kind, "reason": "because"}
        said.append({"create": item})
    errors = any(kind for _, kind in results)
    return web.json_response({"took": 1, "errors": errors, "items": said})


def accepted(pairs: Bulk) -> web.Response:
    """Accept everything."""
    return items(pairs, *[(201, "")] * len(pairs))


def status(code: int, kind: str = "", **headers: str) -> Callable[[Bulk], web.Response]:
    """Refuse the request as a whole, in the words of Elasticsearch if a type is given."""
    said = {"error": {"type": kind, "reason": "because"}, "status": code} if kind else None
    body = orjson.dumps(said) if said else b"<html>no JSON</html>"
    kind = "application/json" if said else "text/html"
    return lambda _: web.Response(status=code, body=body, content_type=kind, headers=headers)


@asynccontextmanager
async def serving(*answers: Callable[[Bulk], Any]) -> AsyncIterator[Fake]:
    """Run the fake on a free port of loopback."""
    fake = Fake(list(answers))
    app = web.Application()
    app.router.add_post("/_bulk", fake.bulk)
    app.router.add_get("/", fake.root)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    fake.url = f"http://127.0.0.1:{port}"
    try:
        yield fake
    finally:
        await runner.cleanup()


@asynccontextmanager
async def sink(url: str, **options: Any) -> AsyncIterator[ElasticsearchSink]:
    """Give a sink for this address; it waits for next to no time."""
    settings = {key: options.pop(key) for key in ("api_key", "timeout_s") if key in options}
    connection = ElasticsearchConnection.model_validate({"hosts": url, **settings})
    sink = ElasticsearchSink(connection, **{"backoff": SOON, **options})
    try:
        yield sink
    finally:
        await sink.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the sink does by itself."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def ids(sent: list[Document]) -> list[str]:
    """Give the ids, as the fake sees them."""
    return [each.id for each in sent]
