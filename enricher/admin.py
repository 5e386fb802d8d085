"""The admin endpoint: pages over HTTP, on a loopback port or a unix socket.

It shares the event loop with the pipeline on purpose: where it does not answer, neither does
Kafka get its heartbeats.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import structlog

from enricher import address
from enricher.address import Address
from enricher.model import UserError

if TYPE_CHECKING:
    from aiohttp import web

log = structlog.get_logger(__name__)

DEFAULT = "127.0.0.1:9600"
_BACKLOG = 64
_BODY = 1024
"""Bytes of a request's body that are read at most; no page wants one."""


class Page(NamedTuple):
    """What a page answers."""

    status: int
    kind: str
    """Its content type."""
    body: bytes


Pages = Mapping[str, Callable[[], Awaitable[Page]]]
"""By path."""


def parse(text: str) -> Address | None:
    """Read `HOST:PORT`, `unix:PATH` or `off` (None).

    Raises:
        UserError: it is none of them.
    """
    if text == "off":
        return None
    kind, _, path = text.partition(":")
    if kind == "unix" and path:
        return Address(path=path)
    found = address.parse(text)
    if found is None:
        raise UserError(
            f'--admin: "{text}" is no address; write HOST:PORT such as {DEFAULT} '
            "(0.0.0.0:9600 for every interface), unix:PATH, or off"
        )
    return found


def listen(where: Address) -> socket.socket:
    """Bind and listen.

    Raises:
        UserError: the address is in use or cannot be had.
    """
    try:
        return _listen_unix(where.path) if where.path else address.listen(where, backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"--admin: {where} is in use, perhaps by another enricher; "
                "give another address with --admin HOST:PORT, or --admin off"
            ) from None
        raise UserError(
            f"--admin: cannot listen on {where} ({error.strerror or error}); "
            "give another address with --admin HOST:PORT, or --admin off"
        ) from None


def _listen_unix(path: str) -> socket.socket:
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(Path(path).stat().st_mode) and not _answers(path):
            Path(path).unlink()  # left by a process that was killed
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # for its owner only, from the start
    try:
        server.bind(path)
        server.listen(_BACKLOG)
    except OSError:
        server.close()
        raise
    finally:
        os.umask(mask)
    return server


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(path)
        except ConnectionRefusedError:
            return False
    return True


def application(pages: Pages) -> web.Application:
    """Make the application: GET and HEAD of each page, and a list of them at `/`."""
    from aiohttp import web

    def handler(
        page: Callable[[], Awaitable[Page]],
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            status, kind, body = await page()
            headers = {"content-type": kind, "cache-control": "no-store"}
            return web.Response(status=status, body=body, headers=headers)

        return answer

    async def index() -> Page:
        return Page(200, "text/plain; charset=utf-8", "".join(f"{p}\n" for p in pages).encode())

    app = web.Application(client_max_size=_BODY)
    for path, page in {"/": index, **pages}.items():
        app.router.add_get(path, handler(page))
    return app


@asynccontextmanager
async def serving(where: Address, pages: Pages) -> AsyncIterator[Address]:
    """Serve the pages meanwhile; gives the address with the port that was had.

    Raises:
        UserError: the address cannot be had.
    """
    from aiohttp import web

    server = listen(where)
    runner = web.AppRunner(
        application(pages),
        access_log=None,
        handle_signals=False,
        keepalive_timeout=75.0,
        lingering_time=1.0,
        shutdown_timeout=1.0,
    )
    try:
        await runner.setup()
        await web.SockSite(runner, server, backlog=_BACKLOG).start()
        bound = where if where.path else Address(*server.getsockname()[:2])
        _announce(bound)
        yield bound
    finally:
        await runner.cleanup()
        server.close()
        if where.path:
            with suppress(FileNotFoundError):
                os.unlink(where.path)  # noqa: PTH108 - a Path's unlink is the same


def _announce(where: Address) -> None:
    log.info("admin endpoint", address=str(where))
    if not where.is_loopback:
        log.warning(
            "the admin endpoint is open to the network, without a password: see to it that only "
            "those reach it who may",
            address=str(where),
        )
