"""How long to wait before another attempt, and how often to say why."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter: many writers that failed together spread out."""

    base_s: float = 0.1
    cap_s: float = 30.0
    longest_hint_s: float = 300.0
    """A server's Retry-After beyond this is taken for a mistake: it would stall the pipeline."""

    def delay(self, attempt: int, hint_s: float = 0.0) -> float:
        """Give the seconds to wait after the given attempt (1 is the first).

        Args:
            attempt: how many attempts in a row have failed.
            hint_s: the server's Retry-After in seconds: a lower bound that jitter is added to.
        """
        ceiling = min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 30))
        jitter = random.uniform(0.0, ceiling)  # noqa: S311 - spreads load, guards nothing
        return min(max(hint_s, 0.0), self.longest_hint_s) + jitter


class Reminder:
    """Lets one message a minute through for each thing that goes on being wrong."""

    def __init__(self, seconds: float = 60.0) -> None:
        self._seconds = seconds
        self._said: dict[str, float] = {}

    def due(self, what: str) -> bool:
        """Tell whether `what` was not said for a while; from now on it was."""
        now = time.monotonic()
        if now - self._said.get(what, -self._seconds) < self._seconds:
            return False
        if len(self._said) > 1000:  # the kinds are few; a bound all the same
            self._said.clear()
        self._said[what] = now
        return True


class Notice:
    """A log line that repeats at most once a minute while its cause lasts."""

    def __init__(self, every_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Repeat after `every_s` seconds, by a clock that gives seconds."""
        self._every_s = every_s
        self._clock = clock
        self._last: dict[str, float] = {}

    def error(self, text: str) -> None:
        """Log the text as an error, unless the same text was logged within the interval."""
        now = self._clock()
        if now - self._last.get(text, -self._every_s) < self._every_s:
            return
        # Texts carry a server's reason and so have no bound of their own.
        self._last = {old: at for old, at in self._last.items() if now - at < self._every_s}
        self._last[text] = now
        import structlog  # whoever only checks a pipeline never gets here

        structlog.get_logger(__name__).error(text)


def retry_after_s(header: str | None) -> float:
    """Give a Retry-After header's seconds: a number or an HTTP date; 0 for anything else."""
    if not header:
        return 0.0
    try:
        return max(0.0, float(int(header)))
    except (ValueError, OverflowError):
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


async def happens(event: asyncio.Event, within_s: float | None) -> bool:
    """Wait for an event, or for so many seconds; None has no end. Returns whether it happened."""
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def pause(seconds: float, closing: asyncio.Event) -> bool:
    """Sleep, but not over the moment at which all is to end. Returns whether that came."""
    if closing.is_set():
        await asyncio.sleep(seconds)
        return False
    return await happens(closing, seconds)


async def end(close: Callable[[], Awaitable[None]]) -> None:
    """Free something, within a second; whoever ends can do nothing about what fails then."""
    with suppress(Exception):
        async with asyncio.timeout(END_S):
            await close()


END_S = 1.0
"""Seconds for a goodbye."""


async def surely(what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do some work to its end; where it fails for a reason nobody thought of, begin anew."""
    while True:
        try:
            return await work()
        except Exception:  # noqa: BLE001 - it is told, and begun anew
            import structlog

            structlog.get_logger(__name__).exception("begins anew", work=what)
            await asyncio.sleep(AGAIN_S)


AGAIN_S = 5.0
"""Seconds after which work begins anew."""
