"""A server of the tests' own process that webhooks lead to."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from enricher.alerts.webhook import WebhookSender, WebhookTarget

MARK = "hunter2marker"
"""A secret that must be in no text."""
PATH = f"/services/T0/{MARK}"


@dataclass
class Hook:
    """A server that answers as the test says, one answer for each request; then 200."""

    answers: list[Any] = field(default_factory=list)
    seen: list[tuple[web.BaseRequest, bytes]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append((request, await request.read()))
        answer = self.answers.pop(0) if self.answers else 200
        if callable(answer):
            response: web.StreamResponse = await answer(request)
            return response
        return web.Response(status=answer) if isinstance(answer, int) else answer

    @property
    def bodies(self) -> list[Any]:
        """Give what was posted, read as JSON."""
        return [json.loads(body) for _, body in self.seen]


@asynccontextmanager
async def hook(*answers: Any, tls: ssl.SSLContext | None = None) -> AsyncIterator[Hook]:
    """Run a server on a free port of loopback."""
    running = Hook(list(answers))
    server = web.ServerRunner(web.Server(running.answer), shutdown_timeout=0.1)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0, ssl_context=tls).start()
    running.url = f"http{'s' if tls else ''}://127.0.0.1:{server.addresses[0][1]}{PATH}"
    try:
        yield running
    finally:
        await server.cleanup()


def target(url: str, **settings: Any) -> WebhookTarget:
    return WebhookTarget.model_validate({"url": url, **settings})


@asynccontextmanager
async def sender(url: str, **settings: Any) -> AsyncIterator[WebhookSender]:
    made = target(url, **{"timeout_s": 20} | settings).build("payments")
    try:
        yield made
    finally:
        await made.close()
