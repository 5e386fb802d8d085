"""Listen for Beats, and turn what they send into deliveries."""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import structlog

from enricher import address
from enricher.address import Address
from enricher.beats.connection import Connection
from enricher.beats.frames import Event
from enricher.beats.limits import LIMITS, Limits
from enricher.beats.tls import Tls
from enricher.descriptors import make_room
from enricher.model import Delivery, Record, Source, UserError
from enricher.sources.inbox import Inbox
from enricher.waiting import Reminder

log = structlog.get_logger(__name__)

HELD = 16 << 20
"""Bytes of incomplete frames on all connections together. Beyond that, the one whose frame is the
oldest is closed: a sender that means well is through with its own in no time."""
_RECEIVE = 128 << 10
"""What the kernel takes in for a connection, so that one read brings no more."""
_BACKLOG = 1024
_PAUSE_S = 1.0
_FLUSH_S = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How a source of Beats behaves; sizes in bytes, times in seconds."""

    address: Address
    tls: ssl.SSLContext | None = None
    limits: Limits = LIMITS
    shared: bool = False
    """Whether other workers listen on the same port."""
    max_connections: int = 2000
    max_bytes: int = 16 << 20
    read_timeout_s: float = 30.0
    idle_timeout_s: float = 300.0
    keepalive_s: float = 5.0


@dataclass(slots=True)
class Counts:
    """What metrics and `/status` tell; `refused` by reason."""

    connections: int = 0
    """Open now."""
    accepted: int = 0
    windows: int = 0
    received_records: int = 0
    acks: int = 0
    keepalives: int = 0
    received_bytes: int = 0
    """As they came, compressed or not, without TLS."""
    held_bytes: int = 0
    """Of records that are not settled, and of frames that are not complete."""
    open_without_tls: int = 0
    refused: dict[str, int] = field(default_factory=dict)


class BeatsSource(Source):
    """Takes events from Beats, and acknowledges them once they are durable.

    Args:
        name: For logs and metrics; also before every id.
        settings: See `Settings`.
        identity: Gives the id that the sender named, by the bytes of the event.
    """

    def __init__(
        self, name: str, settings: Settings, identity: Callable[[bytes], str | None]
    ) -> None:
        self.name = name
        self.settings = settings
        self.counts = Counts()
        self.share = max(1, settings.max_bytes // 4)
        """Unsettled bytes of one connection after which nothing more is read from it."""
        self.connections: dict[Connection, None] = {}
        """Those that were served last stand last."""
        self.address: Address | None = None
        """With the port that was had."""
        self.is_shut = False
        """Whether nothing is read from anyone, for want of room."""
        self._identity = identity
        self._prefix = f"{name}@{secrets.token_hex(8)}-"
        self._number = 0
        self._inbox = Inbox(settings.max_bytes)
        self._held = 0
        self._partial: dict[Connection, None] = {}
        """Connections with an incomplete frame, the oldest first."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._acceptor: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._all_gone = asyncio.Event()
        self._reminder = Reminder()

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Listen, and yield what is sent until `stop()`. Raises UserError."""
        if not self._is_stopped:
            self._listen()
        async for delivery in self._inbox.deliveries():
            yield delivery

    def stop(self) -> None:
        """Accept and read no more; what was taken is settled and acknowledged."""
        self._is_stopped = True
        self.is_shut = True
        self._inbox.stop()
        if self._acceptor:
            self._acceptor.cancel()
        for connection in list(self.connections):
            connection.finish()

    async def commit(self) -> bool:
        """Do nothing: what is settled is acknowledged at once."""
        return True

    async def close(self) -> None:
        """Close every connection, after a second at most for the last ACKs to be sent."""
        self.stop()
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self.connections):
            connection.close()
        if self.connections:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_S):
                    await self._all_gone.wait()
        for connection in list(self.connections):
            connection.abort()

    def hand_in(
        self, connection: Connection, events: Sequence[Event], size: int
    ) -> asyncio.Future[None]:
        """Take events; gives what is done once they are durable."""
        self.connections[connection] = self.connections.pop(connection, None)
        self.counts.received_records += len(events)
        settled = self._inbox.put(self._records(connection, events), size)
        if not self._inbox.has_room(1):
            self.is_shut = True
            for one in self.connections:
                one.hold()
        return settled

    def _records(self, connection: Connection, events: Sequence[Event]) -> list[Record]:
        now_ms = time.time_ns() // 1_000_000
        identity, prefix, stream = self._identity, self._prefix, f"{self.name}/{connection.peer}"
        begin = self._number
        self._number += len(events)
        return [
            Record(value, identity(value) or f"{prefix}{number}", now_ms, stream, sequence)
            for number, (sequence, value) in enumerate(events, begin)
        ]

    def look(self) -> None:
        """Read again, where there is room again."""
        self.counts.held_bytes = self._inbox.used + self._held
        if self.is_shut and not self._is_stopped and self._inbox.used <= self._inbox.limit // 2:
            self.is_shut = False
            for one in list(self.connections):
                one.go_on()

    def weigh(self, connection: Connection, size: int, *, is_new: bool) -> None:
        """Note what a connection holds of incomplete frames, and whether of a new one.

        Where all of them hold too much, the connection whose frame is the oldest is closed.
        """
        self._held += size - connection.held
        self.counts.held_bytes = self._inbox.used + self._held
        connection.held = size
        if is_new or not size:
            self._partial.pop(connection, None)
        if size:
            self._partial.setdefault(connection)
        while self._held > HELD:
            next(iter(self._partial)).refuse("memory", "incomplete frames hold too much memory")

    def refuse(self, reason: str, peer: str, text: str) -> None:
        """Count a refusal, and log one of each reason a minute."""
        refused = self.counts.refused
        refused[reason] = refused.get(reason, 0) + 1
        if self._reminder.due(reason):
            log.warning("refused", source=self.name, peer=peer, reason=reason, what=text)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        if connection in self.connections:
            del self.connections[connection]
            self.counts.connections -= 1
            if self._is_stopped and not self.connections:
                self._all_gone.set()

    def _listen(self) -> None:
        settings = self.settings
        try:
            server = address.listen(settings.address, shared=settings.shared, backlog=_BACKLOG)
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"{error.strerror or error}"
            raise UserError(
                f"source {self.name}: listen: {settings.address}: {why}; give another address, "
                "or leave this source out with --source"
            ) from None
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE)
        server.settimeout(0)
        self.address = Address(*server.getsockname()[:2])
        log.info("listening", source=self.name, address=str(self.address), tls=bool(settings.tls))
        if settings.tls is None and not self.address.is_loopback:
            self.counts.open_without_tls = 1
            log.warning(
                "open to the network without TLS: whoever reaches it can read along and send; "
                "give it a certificate, and clients theirs",
                source=self.name,
                address=str(self.address),
            )
        self._acceptor = self._spawn(self._accept(server))
        self._spawn(self._tick())

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, server: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        most = make_room(self.settings.max_connections)
        with server:
            while True:
                try:
                    accepted, place = await loop.sock_accept(server)
                except OSError as error:  # no descriptors left, or gone again before it was taken
                    self.refuse("accept", "", f"cannot accept: {error.strerror}")
                    await asyncio.sleep(_PAUSE_S)
                    continue
                self.counts.accepted += 1
                if self.counts.connections >= most and not self._make_place():
                    self.refuse("connections", place[0], f"{most} connections are open already")
                    accepted.close()
                    continue
                made = Connection(self, place[0])
                self.connections[made] = None
                self.counts.connections += 1
                self._spawn(self._welcome(made, accepted))

    def _make_place(self) -> bool:
        """Close the connection that has kept us waiting longest. Returns whether there was one."""
        waited_for = [one for one in self.connections if one.keeps_us_waiting]
        if not waited_for:
            return False
        longest = min(waited_for, key=lambda one: one.heard)
        longest.refuse("connections", "another one takes its place")
        return True

    async def _welcome(self, made: Connection, accepted: socket.socket) -> None:
        """Make a connection of a socket."""
        tls = self.settings.tls
        outer = made if tls is None else Tls(made, tls, partial(made.refuse, "tls"))
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: outer, accepted)
        except OSError as error:  # gone again
            self.refuse("accept", made.peer, f"cannot accept: {error.strerror}")
            accepted.close()
            self.remove(made)
        except asyncio.CancelledError:
            accepted.close()
            self.remove(made)
            raise

    async def _tick(self) -> None:
        settings = self.settings
        every_s = min(1.0, settings.keepalive_s / 2, settings.read_timeout_s / 2)
        while True:
            await asyncio.sleep(every_s)
            now = time.monotonic()
            for connection in list(self.connections):
                connection.tick(now)
