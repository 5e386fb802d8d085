"""Answer the keys of a batch: from a cache, from the store, or from what was known of old."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from enricher.lookups.cache import Cache, Found
from enricher.lookups.store import Answer, Lookups
from enricher.lookups.value import footprint
from enricher.model import Unavailable
from enricher.waiting import Backoff, Notice

_UNKNOWN = object()
BACKOFF = Backoff(cap_s=0.5)
"""Between two attempts of a batch that waits; nobody is asked while the breaker is open."""


@dataclass(slots=True)
class Answered:
    """Events that had a key, by who answered."""

    cache: int = 0
    store: int = 0
    stale: int = 0
    """By an answer that had expired, because the store was away."""
    nobody: int = 0
    """The store was away, and nothing was known: a failure."""


@dataclass(slots=True)
class CachedStore:
    """What one stage asks."""

    name: str
    """Of the stage, for people."""
    store: Lookups
    cache: Cache
    read: Callable[[Answer], Found]
    """Works out what an answer of the store means."""
    hash_fields: Sequence[str] | None
    """As the store takes them."""
    max_key_bytes: int
    """A longer key is a failure."""
    waits: bool
    """Whether a batch waits for a store that is away."""
    answered: Answered = field(default_factory=Answered)
    """For whoever watches; so is the next."""
    blocked: str | None = None
    """Why nothing goes on at the moment; None while all is well."""
    _notice: Notice = field(default_factory=Notice)

    async def fetch(self, keys: list[str | None]) -> list[Found]:
        """Give what is stored under each key, with at most one round trip. Never raises."""
        fresh = self.cache.fresh()
        try:
            found = [fresh[key] for key in keys]
        except KeyError:
            return await self._fetch(keys, fresh)
        self.answered.cache += len(keys) - keys.count(None)
        return found

    async def _fetch(
        self, keys: Sequence[str | None], fresh: Mapping[str | None, Found]
    ) -> list[Found]:
        # What is fresh is taken now: while the store is asked, another batch may make it go.
        found: list[Any] = [fresh.get(key, _UNKNOWN) for key in keys]
        places = [place for place, one in enumerate(found) if one is _UNKNOWN]
        self.answered.cache += len(keys) - keys.count(None) - len(places)
        missing = Counter([key for place in places if (key := keys[place]) is not None])
        answers = await self._ask(missing)
        for place in places:
            found[place] = answers[keys[place]]
        return found

    async def _ask(self, missing: Counter[str]) -> dict[str | None, Found]:
        """Answer keys that so many events have each."""
        answers: dict[str | None, Found] = {}
        asked = []
        for key in missing:
            reason = self._misfit(key)
            if reason is None:
                asked.append(key)
            else:
                answers[key] = reason
        away = await self._ask_store(asked, answers)
        attempt = 0
        while away and self.waits:
            attempt += 1
            away = await self._ask_again(away, answers, attempt)
        last = self.cache.last(away)
        for key, reason in away.items():
            answers[key] = last.get(key, reason)  # what is known may be None
        stale = _total(missing, last)
        nobody = _total(missing, away) - stale
        self.answered.stale += stale
        self.answered.nobody += nobody
        self.answered.store += missing.total() - stale - nobody
        return answers

    def _misfit(self, key: str) -> str | None:
        """Say why a key cannot be asked for; None where it can."""
        try:
            size = len(key.encode())
        except UnicodeEncodeError:
            return "the key is not UTF-8"
        if size > self.max_key_bytes:
            return f"the key is longer than {self.max_key_bytes} bytes"
        return None

    async def _ask_store(
        self, keys: Sequence[str], answers: dict[str | None, Found]
    ) -> dict[str, str]:
        """Answer keys that the store can be asked for; give the others with the reason."""
        given = await self.store.get_many(keys, self.hash_fields) if keys else []
        away = {}
        for key, answer in zip(keys, given, strict=True):
            if isinstance(answer, Unavailable):
                away[key] = str(answer)
            else:
                found = answers[key] = self.read(answer)
                self.cache.add(key, found, footprint(answer) + len(key))
        return away

    async def _ask_again(
        self, away: Mapping[str, str], answers: dict[str | None, Found], attempt: int
    ) -> dict[str, str]:
        """Wait a while, and say so."""
        reason = next(iter(away.values()))
        self.blocked = f"{self.name}: {reason}; records wait, nothing is lost"
        self._notice.error(f"{self.name}: the store is away; records wait, nothing is lost")
        try:
            await asyncio.sleep(BACKOFF.delay(attempt))
            return await self._ask_store(list(away), answers)
        finally:
            self.blocked = None


def _total(counts: Mapping[str, int], keys: Collection[str]) -> int:
    return sum([counts[key] for key in keys])
