"""Who is connected, what each one holds, and who has to go when there is no room for another.

A connection is either at work (its records are on their way, nobody may end it) or waits for its
client: for a request, or for more of a body. Those that wait can be spared, the oldest first: a
client that means it needs milliseconds, and comes again.
"""

from __future__ import annotations

import time
from typing import Protocol

from enricher.http.answers import full
from enricher.sources.inbox import Inbox

STALLED_S = 2.0
"""Seconds after which one who sends a body has to make room for others' bodies."""


class Seat(Protocol):
    """A connection, as the roster sees it."""

    def evict(self) -> None:
        """End it at once."""
        ...

    def force_close(self) -> None:
        """End it once all that was written to it is sent."""
        ...


class Roster:
    """Seats for so many connections, and room for what they send.

    Args:
        limit: Connections at a time.
        inbox: Where the room is.
    """

    def __init__(self, limit: int, inbox: Inbox) -> None:
        self._limit = limit
        self._inbox = inbox
        self._held: dict[Seat, int] = {}
        """Of everyone, the bytes of what is being read."""
        self._waiting: dict[Seat, float] = {}
        """Those who wait for their client, and since when; the oldest first."""

    def __len__(self) -> int:
        return len(self._held)

    def admit(self, seat: Seat) -> bool:
        """Give a new one a seat, if need be that of another. Returns whether there is one."""
        if len(self._held) >= self._limit:
            oldest = next(iter(self._waiting), None)
            if oldest is None:
                return False
            self._evict(oldest)
        self._held[seat] = 0
        self.wait(seat)
        return True

    def leave(self, seat: Seat) -> None:
        """Free a seat and what its connection holds; nothing where it has none any more."""
        self._inbox.free(self._held.pop(seat, 0))
        self._waiting.pop(seat, None)

    def wait(self, seat: Seat) -> None:
        """Note that it is its client's turn."""
        if seat in self._held:
            self._waiting.pop(seat, None)
            self._waiting[seat] = time.monotonic()

    def work(self, seat: Seat) -> None:
        """Note that it is our turn."""
        self._waiting.pop(seat, None)

    def free(self, seat: Seat) -> None:
        """Give back what a connection holds."""
        if held := self._held.get(seat):
            self._inbox.free(held)
            self._held[seat] = 0

    def take(self, seat: Seat, size: int) -> None:
        """Let a connection hold more. Raises Refusal where there is no room.

        ConnectionError where it had to go meanwhile.
        """
        if seat not in self._held:
            raise ConnectionError("evicted")
        while not self._inbox.has_room(size):
            stalled = self._stalled()
            if stalled is None or stalled is seat:
                raise full()
            self._evict(stalled)
        self._inbox.hold(size)
        self._held[seat] += size

    def dismiss(self) -> None:
        """End all that wait for their client: nothing of theirs was taken."""
        for seat in list(self._waiting):
            self.leave(seat)
            seat.force_close()

    def _stalled(self) -> Seat | None:
        """Find who has kept us waiting longest of those that hold something."""
        until = time.monotonic() - STALLED_S
        for seat, since in self._waiting.items():
            if since > until:
                return None
            if self._held[seat]:
                return seat
        return None

    def _evict(self, seat: Seat) -> None:
        self.leave(seat)
        seat.evict()
