"""One connection: aiohttp's protocol, with a seat, and bounds on the head of a request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from enricher.http.answers import LATER, RETRY_AFTER_S, Refusal
from enricher.http.roster import Roster

if TYPE_CHECKING:
    from aiohttp import StreamReader

    from enricher.sources.http import Http

HEAD = 32 << 10
"""Most bytes of a request's head."""
_LINE = 8 << 10
_FIELDS = 100
_BUFFER = 64 << 10
"""Bytes of a body that are read ahead; twice that at most."""
_LINGERING_S = 2.0
"""For so long what follows a refusal is read and thrown away, so that the refusal is seen."""
_END = b"\r\n\r\n"
_SILENT = logging.getLogger("enricher.http.silent")
"""aiohttp logs a traceback for every request that is no HTTP; we count them."""
_SILENT.disabled = True


class Connection(web.RequestHandler):
    """Serves the requests of one client, one after the other.

    Args:
        server: aiohttp's, which knows the handler of requests.
        roster: Where it has its seat.
        config: For the deadlines.
        count: Called with the status of each answer that aiohttp gives by itself.
    """

    __slots__ = (
        "_body",
        "_config",
        "_count",
        "_head",
        "_rest",
        "_roster",
        "_tail",
        "_timer",
        "task",
    )

    def __init__(
        self, server: web.Server, roster: Roster, config: Http, count: Callable[[int], None]
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=config.idle_s,
            logger=_SILENT,
            access_log=None,  # type: ignore[arg-type]  # it may be
            max_line_size=_LINE,
            max_field_size=_LINE,
            max_headers=_FIELDS,
            lingering_time=_LINGERING_S,
            read_bufsize=_BUFFER,
            auto_decompress=False,
        )
        self._roster, self._config, self._count = roster, config, count
        self.task: asyncio.Task[None] | None = None
        """What shakes hands, until that is done."""
        self._timer: asyncio.TimerHandle | None = None
        self._head: int | None = 0
        """Bytes of the head that is being received; None between a head and the answer."""
        self._tail = b""
        self._body: StreamReader | None = None
        """What is being read."""
        self._rest: StreamReader | None = None
        """What is thrown away, since its request was refused before it had come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the client until its deadline for a head."""
        super().connection_made(transport)
        self.task = None
        self._start_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Free the seat."""
        while len(self._messages) > 1:  # its turn may have come for the first; the others are in a
            self._messages.pop()  # cycle, where they would stay for long
        self._stop_timer()
        self._roster.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Watch the head, and that what comes is HTTP; the rest is aiohttp's."""
        if self._rest is not None and self._rest.is_eof():
            self._head, self._rest = 0, None
        if self._head is not None and data:
            self._watch(data, self._head)
        super().data_received(data)
        if self._messages:
            self._pause_transport_reading()  # what comes behind a request waits for its answer
        # What comes behind a body that has not ended is no request: aiohttp has queued an error,
        # and would leave whoever reads the body waiting.
        if self._body is not None and self._messages and not self._body.is_eof():
            self._body.set_exception(web.RequestPayloadError("the body is not framed as HTTP is"))

    @contextmanager
    def reading(self, body: StreamReader) -> Iterator[None]:
        """Take a body meanwhile."""
        self._body = body
        self._resume()
        try:
            yield
        finally:
            self._body = None
            self._pause_transport_reading()

    def _watch(self, data: bytes, received: int) -> None:
        if not received:
            data = data.lstrip(b"\r\n")  # between two requests it means nothing
            if data and self._timer is None:
                self._start_timer()
        if _END in self._tail + data:
            self._head, self._tail = None, b""
            self._stop_timer()
            return
        self._head = received + len(data)
        self._tail = data[-len(_END) + 1 :]
        if self._head > HEAD and self.transport is not None:
            self._count(431)
            self.transport.write(bare(431, "Request Header Fields Too Large"))
            self.force_close()

    def answered(self, body: StreamReader) -> None:
        """Note that the next request may begin behind this body, if none waits already."""
        if not body.is_eof():
            self._rest = body
        elif not self._messages:
            self._head = 0
        else:
            return
        self._resume()

    def _resume(self) -> None:
        if not (self._reading_paused or self._buffer_paused):  # aiohttp has reasons of its own
            self._resume_transport_reading()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002 - aiohttp's signature
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP, or not ours."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        self._count(status)
        reason = (message or "it failed here").partition("\n")[0].rstrip(":")[:100]
        return Refusal(status, f"not HTTP: {reason}").response()

    def evict(self) -> None:
        """End the connection at once, whatever it is at."""
        if self.task is not None:
            self.task.cancel()
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    def _start_timer(self) -> None:
        self._timer = self._loop.call_later(self._config.header_s, self.evict)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def bare(status: int, phrase: str) -> bytes:
    """Make an answer for those with whom it does not come to a request."""
    later = f"Retry-After: {RETRY_AFTER_S}\r\n" if status in LATER else ""
    head = f"HTTP/1.1 {status} {phrase}\r\n{later}Connection: close\r\nContent-Length: 0"
    return f"{head}\r\n\r\n".encode()
