"""How many requests one sink has under way: more while all is well, half at a sign of overload."""

from __future__ import annotations

import time
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
        self.busy = 0
        """Requests under way."""
        self._most = float(most)
        self._slow_s = slow_s
        self._clock = clock
        self._cut_at = float("-inf")

    @property
    def is_free(self) -> bool:
        """Whether one more may begin."""
        return self.busy < int(self.limit)

    def begin(self) -> float:
        """Count one more request; give the time at which it begins."""
        self.busy += 1
        return self._clock()

    def end(self, since: float, *, overloaded: bool) -> None:
        """Count one less, and adapt.

        Args:
            since: what `begin()` gave.
            overloaded: whether the server asked for less (429) or did not answer in time.
        """
        self.busy -= 1
        now = self._clock()
        if overloaded or now - since > self._slow_s:
            # Requests that were sent together fail together: they are one sign, not many.
            if since >= self._cut_at:
                self.limit = max(1.0, self.limit / 2)
                self._cut_at = now
        else:
            self.limit = min(self._most, self.limit + 1 / self.limit)
