"""How much may be under way at a time."""

from __future__ import annotations

import asyncio

DEFAULT_BUDGET_MIB = 64
"""Mebibytes in flight: records, the documents made of them, and what Python needs around both."""
MOST_RECORDS = 8_000
"""Records in flight: two full deliveries for each request that a sink has under way. More would
fill memory, to no use; small deliveries may be many, since some wait long for their last items."""


class Budget:
    """Bounds the bytes and the records in flight; the last delivery let in may go beyond."""

    def __init__(self, limit: int, records: int = MOST_RECORDS) -> None:
        self.limit = limit
        self.used = 0
        self._left = records
        self._freed = asyncio.Event()
        self._released = False

    async def wait(self) -> None:
        """Wait until there is room for one more delivery, or nobody is to wait any more."""
        while (self.used >= self.limit or self._left <= 0) and not self._released:
            self._freed.clear()
            await self._freed.wait()

    def take(self, size: int, records: int) -> None:
        """Count a delivery of so many bytes and records in."""
        self.used += size
        self._left -= records

    def give_back(self, size: int, records: int) -> None:
        """Count it out again."""
        self.used -= size
        self._left += records
        self._freed.set()

    def release(self) -> None:
        """Let go of whoever waits: reading ends, and room may never come."""
        self._released = True
        self._freed.set()
