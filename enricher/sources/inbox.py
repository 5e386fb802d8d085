"""Where records wait that are sent to us, until the runtime takes them and settles them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

from enricher.model import Delivery, Record


class Inbox:
    """Turns records that connections hand in into deliveries; a full one takes no more.

    Args:
        limit: Raw bytes that may wait and be under way at a time.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        """Raw bytes handed in and not settled."""
        self._waiting: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._stopped = False

    def has_room(self, size: int) -> bool:
        """Say whether so many bytes may be handed in; into an empty one any number may."""
        return not self._stopped and (self.used == 0 or self.used + size <= self.limit)

    def put(self, records: Sequence[Record], size: int) -> asyncio.Future[None]:
        """Hand records in, `has_room` or not; gives what is done once each is durable.

        It is cancelled where nothing is taken any more, and never done where a run fails: then
        nothing may be acknowledged.
        """
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._stopped:
            settled.cancel()
            return settled

        async def acknowledge() -> None:
            self.used -= size
            if not settled.done():  # whoever sent it may be gone
                settled.set_result(None)

        self.used += size
        self._waiting.append(Delivery(list(records), acknowledge, size))
        self._arrived.set()
        return settled

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield what is handed in until `stop()`, and then what is left."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._stopped:
                return
            self._arrived.clear()
            await self._arrived.wait()

    def stop(self) -> None:
        """Take no more; what was taken still goes on."""
        self._stopped = True
        self._arrived.set()
