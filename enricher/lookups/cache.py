"""Answers that are kept: fresh for a while, and past that for as long as there is room."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from enricher.model import Shared

Found = Shared | str | tuple[dict[str, Any], str] | None
"""What a key gives: fields to write, why there are none, both, or nothing at all."""


class Kept(NamedTuple):
    """An answer, and the bytes that it takes."""

    found: Found
    size: int


class Cache:
    """Answers by key. All that is known lies in one dict, by age; what is fresh in two generations.

    A generation lasts half the time, so an answer is fresh for between half of it and all of it.
    What has expired stays known, for a store that is away, until newer answers need its room.

    Args:
        seconds: How long an answer is fresh at most; 0 keeps nothing at all.
        limit: Bytes of what is known, fresh or not.
        clock: Gives seconds.
    """

    def __init__(
        self, seconds: float, limit: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.size = 0
        """Bytes that are taken."""
        self._seconds = seconds
        self._limit = limit
        self._clock = clock
        self._known: OrderedDict[str, Kept] = OrderedDict()
        self._fresh: dict[str | None, Found] = {None: None}
        self._young: dict[str | None, Found] = {None: None}
        self._turn_at = clock() + seconds / 2

    def fresh(self) -> dict[str | None, Found]:
        """Give what is fresh now; no key (None) is known to give nothing."""
        now = self._clock()
        if now >= self._turn_at:
            is_late = now >= self._turn_at + self._seconds / 2  # nobody asked for a while
            self._fresh = {None: None} if is_late else self._young
            self._young = {None: None}
            self._turn_at = (now if is_late else self._turn_at) + self._seconds / 2
        return self._fresh

    def last(self, keys: Iterable[str]) -> dict[str, Found]:
        """Give what is known of keys, however old; nothing for those that are not known."""
        known = self._known
        return {key: known[key].found for key in keys if key in known}

    def add(self, key: str, found: Found, size: int) -> None:
        """Keep an answer that the store gave, and the bytes that it takes; the oldest make room."""
        if not self._seconds:
            return
        self.size += size
        former = self._known.pop(key, None)
        if former:
            self.size -= former.size
        self._known[key] = Kept(found, size)
        self._fresh[key] = self._young[key] = found
        while self.size > self._limit:
            oldest, kept = self._known.popitem(last=False)
            self.size -= kept.size
            self._fresh.pop(oldest, None)
            self._young.pop(oldest, None)
