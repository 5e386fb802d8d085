"""How late the event loop is: what a heartbeat, or a health check, has to wait at worst."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from enricher.histogram import Histogram

EVERY_S = 0.05
RECENT_S = 60.0
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Pulse:
    """Sleeps for a moment, again and again, and notes how much longer that took."""

    def __init__(self) -> None:
        self.lateness = Histogram(BOUNDS_S)
        self._longest: deque[tuple[float, float]] = deque()
        """When and how long, falling: whatever a later stall outdid is forgotten."""

    async def beat(self) -> None:
        """Measure for ever."""
        while True:
            due = time.monotonic() + EVERY_S
            await asyncio.sleep(EVERY_S)
            now = time.monotonic()
            self.note(max(0.0, now - due), now)

    def note(self, late_s: float, now: float) -> None:
        """Count one measurement, made at `now` (seconds of a monotonic clock)."""
        self.lateness.observe(late_s)
        longest = self._longest
        while longest and longest[-1][1] <= late_s:
            longest.pop()
        longest.append((now, late_s))
        while longest[0][0] < now - RECENT_S:
            longest.popleft()

    @property
    def longest_s(self) -> float:
        """The longest stall of the last minute, in seconds."""
        return self._longest[0][1] if self._longest else 0.0
