"""Count durations in buckets, as Prometheus wants them: plain integers, read when it asks."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds for a request to a server, in seconds."""

LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for the way of a record through the pipeline, in seconds."""


class Histogram:
    """Counts values by upper bound; observe once a batch or request, never per event."""

    def __init__(self, bounds: tuple[float, ...] = REQUEST_S) -> None:
        """Start empty.

        Args:
            bounds: upper bounds of the buckets, inclusive, rising; larger values count as well.
        """
        self.bounds = bounds
        self.sum = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def observe_since(self, stamps_ms: Sequence[int], now_s: float, times: int = 1) -> None:
        """Count the seconds that have passed since each of many moments, all at once.

        Args:
            stamps_ms: milliseconds since the epoch; one that lies ahead counts as now.
            now_s: seconds since the epoch.
            times: how often each counts, where they are a sample.
        """
        stamps = sorted(stamps_ms)
        now_ms = 1000 * now_s
        older = len(stamps)
        """How many are older than the bound before."""
        past = bisect_left(stamps, now_ms)
        for number, bound in enumerate(self.bounds):
            still = bisect_left(stamps, now_ms - 1000 * bound)
            self._counts[number] += times * (older - still)
            older = still
        self._counts[-1] += times * older
        self.sum += times * (past * now_ms - sum(stamps[:past])) / 1000

    @contextmanager
    def time(self) -> Iterator[None]:
        """Count the seconds that the block takes, also where it fails."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.observe(time.perf_counter() - begin)

    def buckets(self) -> list[tuple[str, float]]:
        """Give how many values are at most each bound; the last bound is `+Inf`."""
        names = [*map(str, self.bounds), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))
