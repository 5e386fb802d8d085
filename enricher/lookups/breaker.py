"""A circuit breaker: who failed several times in a row is left alone until a probe succeeds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from enricher.model import Unavailable

log = structlog.get_logger(__name__)

FAILURES = 3
"""In a row, after which nobody waits for an answer any more."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0
"""Seconds before a probe. The pause doubles up to the longest, also over several outages where
nothing succeeded between them: who answers probes and nothing else costs one time-out a second."""
SAY_EVERY_S = 60.0


class Breaker:
    """Closed while a server answers. Once open, a task of its own probes until it may be closed.

    Args:
        name: Of the server, for people.
        probe: Asks it something; raises Unavailable where there is no answer in good time.
    """

    def __init__(self, name: str, probe: Callable[[], Awaitable[object]]) -> None:
        self.reason: str | None = None
        """Why nothing is asked at the moment; None while closed."""
        self._name = name
        self._probe = probe
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._probing: asyncio.Task[None] | None = None
        self._said_at = -SAY_EVERY_S
        self._is_said = False

    def check(self) -> None:
        """Raise Unavailable, at once, while it is open."""
        if self.reason is not None:
            self._watch()
            raise Unavailable(self.reason)

    def succeeded(self) -> None:
        """Note an answer."""
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S

    def failed(self, reason: str) -> None:
        """Note that there was none; the last of several opens it."""
        self._failures += 1
        if self._failures >= FAILURES and self.reason is None:
            self.reason = reason
            self._say_open()
            self._watch()

    async def close(self) -> None:
        """End the probing."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])

    def _watch(self) -> None:
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._until_it_answers())

    async def _until_it_answers(self) -> None:
        while self.reason is not None:
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            try:
                await self._probe()
            except Unavailable as error:
                self.reason = str(error)
            else:
                self._failures = FAILURES - 1  # one more failure opens it again
                self.reason = None
        self._say_closed()

    def _say_open(self) -> None:
        now = time.monotonic()
        if now - self._said_at >= SAY_EVERY_S:
            self._said_at, self._is_said = now, True
            log.error("left alone until it answers again", server=self._name, reason=self.reason)

    def _say_closed(self) -> None:
        if self._is_said:
            self._is_said = False
            log.info("answers again", server=self._name)
