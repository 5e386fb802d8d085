"""How much may be under way at a time."""

from __future__ import annotations

import asyncio

DEFAULT_BUDGET_MIB = 64
"""Mebibytes in flight: records, the documents made of them, and what Python needs around both."""
MOST_DELIVERIES = 8
"""Deliveries in flight: twice what a sink sends at a time. More would fill memory, to no use."""


class Budget:
    """Bounds the bytes and the deliveries in flight; the last one let in may go beyond."""

    def __init__(self, limit: int, deliveries: int = MOST_DELIVERIES) -> None:
        self.limit = limit
        self.used = 0
        self._left = deliveries
        self._freed = asyncio.Event()
        self._released = False

    async def wait(self) -> None:
        """Wait until there is room for one more delivery, or nobody is to wait any more."""
        while (self.used >= self.limit or self._left <= 0) and not self._released:
            self._freed.clear()
            await self._freed.wait()

    def take(self, size: int) -> None:
        """Count a delivery of so many bytes in."""
        self.used += size
        self._left -= 1

    def give_back(self, size: int) -> None:
        """Count it out again."""
        self.used -= size
        self._left += 1
        self._freed.set()

    def release(self) -> None:
        """Let go of whoever waits: reading ends, and room may never come."""
        self._released = True
        self._freed.set()
