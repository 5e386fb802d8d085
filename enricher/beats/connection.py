"""One connection: frames become records, and settled records become ACKs.

The sender of a window waits for its ACK, and sends the window again where none comes. So an ACK
goes out only once all that stands before it is durable, and meanwhile, every few seconds, one
that says how much of the window is (0 where nothing is yet): the sender then knows that we live.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from struct import Struct
from typing import TYPE_CHECKING, cast

from enricher.beats.frames import VERSIONS, Event, Parser, Window
from enricher.beats.limits import Refused

if TYPE_CHECKING:
    from enricher.beats.server import BeatsSource

RECORD_BYTES = 300
"""What a record costs besides its value: the tuple, its id, its numbers. A window of tiny events
would weigh nothing without it."""
_ACK = Struct(">BBI")
_A = ord("A")
_PROGRESS = 64 << 10
"""So many bytes are progress, too, where a frame is long."""


class _Batch:
    """Records that were handed in together, and what is owed for them."""

    __slots__ = ("acks", "is_settled", "reached", "size")

    def __init__(self, size: int, acks: list[bytes], reached: int) -> None:
        self.size = size
        self.acks = acks
        """Of the windows that end in it."""
        self.reached = reached
        """The last number of a window that does not end in it; 0 where there is none."""
        self.is_settled = False


class Connection(asyncio.Protocol):
    """Parses what comes in, a bounded piece at a time, and never waits.

    Args:
        server: Takes the records, and says when there is room for more.
        peer: The address of the other end.
    """

    def __init__(self, server: BeatsSource, peer: str) -> None:
        self.peer = peer
        self.held = 0
        """Bytes of frames that are not complete."""
        self._server = server
        self._parser = Parser(server.settings.limits)
        self._transport: asyncio.Transport | None = None
        self._owed: deque[_Batch] = deque()
        self._unsettled = 0
        self._version = VERSIONS[-1]
        self._left = 0
        self._reached = 0
        self._is_reading = True
        self._is_clogged = False
        self._is_ending = False
        self.heard = self._told = time.monotonic()
        self._is_known = False
        """Whether it ever finished a window."""
        self._fresh = 0

    @property
    def keeps_us_waiting(self) -> bool:
        """Whether it is the sender's turn."""
        return bool(self._transport and self._is_reading and not self._owed and not self._is_ending)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; where there is TLS, its handshake is still to come."""
        self._transport = cast("asyncio.Transport", transport)
        if self._is_ending:
            self.close()
        else:  # uvloop begins to read only after this, whoever paused it
            asyncio.get_running_loop().call_soon(self._advance)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Forget it; what was handed in is settled all the same."""
        self._transport = None
        self._forget()
        self._server.remove(self)

    def data_received(self, data: bytes) -> None:
        """Parse, unless nothing is taken from it any more."""
        self._server.counts.received_bytes += len(data)
        if self._is_ending:
            return
        self._fresh += len(data)
        self._parser.feed(data)
        self._advance()

    def eof_received(self) -> bool:
        """Stay, for the ACKs that are owed, where only the other direction was closed."""
        self._is_ending = True
        return bool(self._owed)

    def pause_writing(self) -> None:
        """Read no more from one that reads no ACKs."""
        self._is_clogged = True
        self.heard = time.monotonic()
        self.hold()

    def resume_writing(self) -> None:
        """Go on with it."""
        self._is_clogged = False
        self.go_on()

    def hold(self) -> None:
        """Read no more until `go_on()`."""
        if self._is_reading and self._transport and not self._transport.is_closing():
            self._is_reading = False
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Read again; the time that passed meanwhile is not the sender's."""
        self.heard = time.monotonic()
        self._advance()

    def finish(self) -> None:
        """Take nothing more, and close once the ACKs that are owed are sent."""
        self.hold()
        self._is_ending = True
        self._forget()
        if not self._owed:
            self.close()

    def close(self) -> None:
        """Close, once what was written is sent."""
        if self._transport:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._is_ending = True
        self._forget()
        if self._transport:
            self._transport.abort()

    def tick(self, now: float) -> None:
        """Do what time demands: a keep-alive, or an end. Called about once a second."""
        settings = self._server.settings
        silent_s = now - self.heard
        is_waiting = bool(self._owed) or not self._is_reading  # what it sent may lie unread
        if self._is_clogged:
            if silent_s > settings.read_timeout_s:
                self.refuse("slow", "it reads no acknowledgements")
        elif is_waiting:
            if now - self._told >= settings.keepalive_s:
                self._server.counts.keepalives += 1
                self._tell(_ACK.pack(self._version, _A, self._reached))
        elif self._is_known and not self._left and not self.held:
            if silent_s > settings.idle_timeout_s:
                self.close()
        elif silent_s > settings.read_timeout_s:
            self.refuse("slow", f"nothing whole came for {silent_s:.0f} s")

    def refuse(self, reason: str, text: str) -> None:
        """Count and log why it ends, and end it."""
        self._server.refuse(reason, self.peer, text)
        if reason in ("slow", "memory", "connections"):
            self.abort()
        else:
            self.finish()

    def _advance(self) -> None:
        """Parse and hand in, until bytes or room are missing, or it is another's turn."""
        if self._is_ending or not self._transport or self._transport.is_closing():
            return
        server = self._server
        if server.is_shut or self._is_clogged or self._unsettled >= server.share:
            self.hold()
            return
        try:
            found = self._parser.take()
        except Refused as refused:
            self.refuse(refused.reason, str(refused))
            return
        if found:
            self._hand_in(found)
        if found or self._fresh >= _PROGRESS:
            self.heard = time.monotonic()
            self._fresh = 0
        server.weigh(self, self._parser.held, is_new=bool(found))
        if self._is_ending:
            return
        if not self._parser.hungry:
            self.hold()
            asyncio.get_running_loop().call_soon(self._advance)
        elif not server.is_shut:
            self._read()

    def _read(self) -> None:
        if not self._is_reading and self._transport:
            self._is_reading = True
            self._transport.resume_reading()

    def _hand_in(self, found: Sequence[Window | Event]) -> None:
        events: list[Event] = []
        acks: list[bytes] = []
        for one in found:
            if isinstance(one, Window):
                self._version, self._left = one
                self._server.counts.windows += 1
                continue
            events.append(one)
            self._left -= 1
            if not self._left:
                acks.append(_ACK.pack(self._version, _A, one.sequence))
        if not events:
            return
        size = sum([len(value) for _, value in events]) + RECORD_BYTES * len(events)
        batch = _Batch(size, acks, events[-1].sequence if self._left else 0)
        self._owed.append(batch)
        self._unsettled += size
        settled = self._server.hand_in(self, events, size)
        settled.add_done_callback(partial(self._settle, batch))

    def _settle(self, batch: _Batch, settled: asyncio.Future[None]) -> None:
        if settled.cancelled():
            return
        batch.is_settled = True
        self._unsettled -= batch.size
        acks: list[bytes] = []
        while self._owed and self._owed[0].is_settled:
            first = self._owed.popleft()
            acks += first.acks
            self._reached = first.reached
        if not self._owed:
            self.heard = time.monotonic()
        if acks:
            self._server.counts.acks += len(acks)
            self._is_known = True
            self._tell(b"".join(acks))
        self._server.look()
        if self._is_ending:
            if not self._owed:
                self.close()
        elif not self._is_reading and self._unsettled <= self._server.share // 2:
            self.go_on()

    def _tell(self, acks: bytes) -> None:
        self._told = time.monotonic()
        if self._transport and not self._transport.is_closing():
            self._transport.write(acks)

    def _forget(self) -> None:
        """Free what is held of frames that are not complete."""
        self._parser = Parser(self._server.settings.limits)
        self._server.weigh(self, 0, is_new=True)
