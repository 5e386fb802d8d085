"""How many requests one sink has under way: more while all is well, half at a sign of overload."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable


class Concurrency:
    """A bound on requests under way that adapts: additive increase, multiplicative decrease.

    A server that answers 429 is asked less at once, and after that a little more with each
    answer, until it refuses again. Used once per request, never per event.
    """

    def __init__(
        self, most: int, slow_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start at the upper bound.

        Args:
            most: the upper bound, at least 1; the lower bound is 1.
            slow_s: a request that takes longer, in seconds, counts as a sign of overload.
            clock: gives seconds.
        """
        self.limit = float(most)
        self._most = float(most)
        self._slow_s = slow_s
        self._clock = clock
        self._busy = 0
        self._cut_at = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> float:
        """Wait for a slot, first come first served; give the time at which it was had."""
        if self._busy < int(self.limit) and not self._waiting:
            self._busy += 1
            return self._clock()
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(slot)
        try:
            await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled():  # handed over in the same turn of the loop
                self._busy -= 1
                self._hand_over()
            raise
        return self._clock()

    def release(self, since: float, *, overloaded: bool) -> None:
        """Give a slot back and adapt.

        Args:
            since: what `acquire()` gave.
            overloaded: whether the server asked for less (429) or did not answer in time.
        """
        self._busy -= 1
        now = self._clock()
        if overloaded or now - since > self._slow_s:
            # Requests that were sent together fail together: they are one sign, not many.
            if since >= self._cut_at:
                self.limit = max(1.0, self.limit / 2)
                self._cut_at = now
        else:
            self.limit = min(self._most, self.limit + 1 / self.limit)
        self._hand_over()

    def _hand_over(self) -> None:
        while self._waiting and self._busy < int(self.limit):
            slot = self._waiting.popleft()
            if not slot.done():
                self._busy += 1
                slot.set_result(None)
