"""Records that are POSTed, as a source."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog
from aiohttp import HttpVersion11, web

from enricher.address import Address
from enricher.http import body, cut
from enricher.http.answers import FULL, GONE, Refusal, full, response, stopping
from enricher.http.auth import gatekeeper
from enricher.http.connection import Connection
from enricher.http.identity import Names
from enricher.http.listener import Listener
from enricher.http.roster import Roster
from enricher.model import Delivery, Record, Source
from enricher.sources.inbox import Inbox, weight

if TYPE_CHECKING:
    from enricher.sources.http import Http

log = structlog.get_logger(__name__)

_FAREWELL_S = 2.0
"""How long the last answers may take to be sent, in seconds."""


@dataclass(slots=True)
class Counts:
    """What is counted of a source that listens."""

    requests: dict[str, int]
    """By the status of their answer; 499 where the client was gone before its body had come."""
    received_records: int
    received_bytes: int
    """Of bodies, as they were sent."""
    connections: int
    """Now."""
    held_bytes: int
    """Of requests, as sent and inflated, that are not settled."""
    open_without_tls: int
    """1 where the network can read along."""


class HttpSource(Source):
    """Serves requests until it is stopped; see `Http` for what is set.

    Args:
        config: The settings.
        tls: None for plain text.
        shared: Whether other workers listen on the same port.
    """

    def __init__(self, config: Http, tls: ssl.SSLContext | None, *, shared: bool) -> None:
        self.name = config.name
        self.address: Address | None = None
        """Where it listens; None while it does not."""
        self._config, self._shared, self._has_tls = config, shared, tls is not None
        self._inbox = Inbox(config.max_held_bytes)
        self._roster = Roster(config.max_connections, self._inbox)
        self._check = gatekeeper(config)
        self._names = Names(config)
        self._requests: Counter[str] = Counter()
        self._records = self._bytes = 0
        self._server: web.Server | None = None
        self._listener = Listener(
            config.address, self._roster, self._connection, tls=tls, handshake_s=config.header_s
        )
        self._stopping = self._is_open = False

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Listen, and yield what comes until `stop()`. Raises UserError: the address is taken."""
        self._server = web.Server(self._handle)
        self.address = self._listener.start(shared=self._shared)
        self._announce(self.address)
        async for delivery in self._inbox.deliveries():
            yield delivery

    def _announce(self, where: Address) -> None:
        log.info("http source", source=self.name, address=str(where), tls=self._has_tls)
        self._is_open = not where.is_loopback and not self._has_tls
        if self._is_open:
            log.warning(
                "the http source takes passwords and records from the network in plain text: set "
                "tls, or see to it that only a proxy with TLS reaches it",
                source=self.name,
                address=str(where),
            )

    def _connection(self) -> Connection:
        assert self._server is not None
        return Connection(self._server, self._roster, self._config, self._count)

    @property
    def blocked(self) -> str | None:
        """Why nothing can be taken at the moment, for readiness."""
        return None if self.address else f"{self.name}: does not listen"

    @property
    def counts(self) -> Counts:
        """What has been counted so far."""
        requests = {**self._requests, "503": self._requests["503"] + self._listener.refused}
        return Counts(
            {status: number for status, number in requests.items() if number},
            *(self._records, self._bytes, len(self._roster), self._inbox.used),
            int(self._is_open),
        )

    async def commit(self) -> bool:
        """Do nothing: the answers are all that outlasts a crash."""
        return True

    def stop(self) -> None:
        """Accept no more; requests whose records were taken still get their answer."""
        self._stopping = True
        self.address = None
        self._listener.stop()
        self._inbox.stop()

    async def close(self) -> None:
        """Answer 503 to those whose records are not durable, and end all connections."""
        self.stop()
        self._inbox.close()
        self._roster.dismiss()
        if self._server is not None:
            await self._server.shutdown(_FAREWELL_S)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; whatever it is, there is one answer."""
        connection = request.protocol
        assert isinstance(connection, Connection)
        try:
            answer = await self._serve(request, connection)
        except Refusal as refusal:
            is_late = self._stopping and refusal.status == FULL
            answer = (stopping() if is_late else refusal).response()
        except ConnectionError:
            answer = Refusal(GONE, "").response()  # which nobody reads
        except Exception as error:  # noqa: BLE001 - the next request is another
            log.warning("a request failed here", source=self.name, error=repr(error))
            answer = Refusal(500, "it failed here; the log says how").response()
        finally:
            self._roster.free(connection)
            self._roster.wait(connection)
            connection.answered(request.content)
        if self._stopping:
            answer.force_close()
        self._count(answer.status)
        return answer

    def _count(self, status: int) -> None:
        self._requests[str(status)] += 1

    async def _serve(self, request: web.BaseRequest, connection: Connection) -> web.Response:
        count, settled = await self._take(request, connection)
        if self._config.ack == "received" and not (settled and settled.cancelled()):
            return response(202, {"accepted": count})
        if settled is not None:
            await asyncio.wait([settled], timeout=self._config.answer_s)
            if settled.cancelled():
                raise stopping()
            if not settled.done():
                after = f"not durable within {self._config.answer_s:g} s"
                raise Refusal(503, f"{after}, but it may be yet; send the same again later")
        return response(200, {"accepted": count})

    async def _take(
        self, request: web.BaseRequest, connection: Connection
    ) -> tuple[int, asyncio.Future[None] | None]:
        """Read a request and hand its records in; gives how many, and what is done once durable.

        Nothing of the body outlasts it but the records.
        """
        self._let_in(request)
        by_lines = cut.is_lines(request.headers.get("Content-Type", ""))
        self._roster.wait(connection)
        await body.announce(request, self._config, self._inbox.has_room)
        take = partial(self._roster.take, connection)
        with connection.reading(request.content):
            text, sent = await body.read(request, self._config, take)
        self._bytes += sent
        self._roster.work(connection)
        if not text.strip():
            raise Refusal(400, "there is no record in the body")
        bounds = self._config.max_records, self._config.max_record_bytes
        values: list[bytes] = []
        if by_lines:
            values = cut.lines(text, *bounds)
        else:
            for found in cut.texts(text, *bounds):
                values += found
                await asyncio.sleep(0)
        key = request.headers.get("Idempotency-Key")
        records = self._names.records(values, key, text)
        self._roster.free(connection)
        return len(records), self._hand_in(records)

    def _let_in(self, request: web.BaseRequest) -> None:
        """Raise Refusal unless it is one of ours, from one of ours."""
        if self._stopping:
            raise stopping()
        if request.version > HttpVersion11:
            raise Refusal(505, "HTTP/1.1 is spoken here")
        self._check(request.headers.get("Authorization", ""))
        if request.path != self._config.path:
            raise Refusal(404, f"nothing is here; POST to {self._config.path}")
        if request.method != "POST":
            raise Refusal(405, "records are POSTed", {"Allow": "POST"})

    def _hand_in(self, records: list[Record]) -> asyncio.Future[None] | None:
        size = weight(records)
        if not records:
            return None
        if self._stopping:
            raise stopping()
        if not self._inbox.has_room(size):
            raise full()
        self._records += len(records)
        return self._inbox.put(records, size)
