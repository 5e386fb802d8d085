"""Let a run be watched: the admin endpoint, the pulse of its loop, and word to systemd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import orjson

from enricher import admin, notify
from enricher.address import Address
from enricher.admin import Page
from enricher.health import Health
from enricher.runtime import Runtime

_JSON = "application/json"


@asynccontextmanager
async def watched(
    runtime: Runtime, stopping: asyncio.Event, address: Address | None
) -> AsyncIterator[None]:
    """Serve and report meanwhile, from before the sinks are open until after the drain.

    Raises:
        UserError: the address cannot be had.
    """
    health = Health(runtime, stopping)
    tasks: list[asyncio.Task[None]] = []
    async with AsyncExitStack() as stack:
        if address is not None:
            await stack.enter_async_context(admin.serving(address, pages(health)))
            tasks.append(asyncio.create_task(health.pulse.beat()))
        if notify.wanted():
            tasks.append(asyncio.create_task(notify.report(health.reasons, stopping)))
        stack.push_async_callback(_end, tasks)
        yield


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def pages(health: Health) -> admin.Pages:
    """Make the pages of one process."""
    from enricher import metrics

    registry = metrics.registry_of(health)

    async def text() -> Page:
        return Page(200, metrics.CONTENT_TYPE, metrics.exposition(registry))

    async def live() -> Page:
        return Page(200, _JSON, b'{"live":true}')

    async def ready() -> Page:
        reasons = health.reasons()
        body = orjson.dumps({"ready": not reasons, "reasons": reasons})
        return Page(503 if reasons else 200, _JSON, body)

    async def status() -> Page:
        return Page(200, _JSON, orjson.dumps(health.status(), option=orjson.OPT_INDENT_2))

    return {"/metrics": text, "/health/live": live, "/health/ready": ready, "/status": status}
