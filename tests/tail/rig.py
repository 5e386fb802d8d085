"""A source that follows files, in this process, with the test in the runtime's place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from enricher.model import Delivery, Record
from enricher.sources.base import Setting
from enricher.sources.file import File
from enricher.tail.source import FollowedFiles

DEADLINE_S = 20.0


class Following:
    """A source that follows; what it yields is settled at once, unless told otherwise."""

    def __init__(self, source: FollowedFiles, *, settles: bool) -> None:
        self.source = source
        self.deliveries: list[Delivery] = []
        self.reading = asyncio.create_task(self._read())
        self._settles = settles

    async def _read(self) -> None:
        async for delivery in self.source.deliveries():
            self.deliveries.append(delivery)
            if self._settles:
                await delivery.acknowledge()

    @property
    def records(self) -> list[Record]:
        return [record for delivery in self.deliveries for record in delivery.records]

    @property
    def values(self) -> list[bytes]:
        return [record.value for record in self.records]

    async def until(self, done: Callable[[], object]) -> None:
        """Wait until something is so."""
        end = time.monotonic() + DEADLINE_S
        while not done() and not self.reading.done():
            assert time.monotonic() < end, self.values[-20:]
            await asyncio.sleep(0.005)

    async def has(self, *values: bytes) -> None:
        """Wait until these came, in this order, and check that nothing else did."""
        await self.until(lambda: len(self.values) >= len(values))
        assert self.values == list(values)

    def _looked_since(self, begin: float) -> bool:
        return self.source._looked_at > begin

    async def looked(self) -> None:
        """Wait until all files were looked at, whole, since now."""
        for _ in range(2):
            begin = time.monotonic()
            await self.until(partial(self._looked_since, begin))


@asynccontextmanager
async def following(
    folder: Path, *, settles: bool = True, **settings: Any
) -> AsyncIterator[Following]:
    """Follow `*.log` of a folder meanwhile; in the end all that is settled is kept."""
    fields: dict[str, Any] = {
        "paths": [str(folder / "*.log")],
        "state": folder / "state",
        "follow": True,
    }
    source = File(**(fields | settings)).build(Setting())
    assert isinstance(source, FollowedFiles)
    made = Following(source, settles=settles)
    try:
        yield made
    finally:
        source.stop()
        await asyncio.wait([made.reading])
        await source.close()
        await made.reading
