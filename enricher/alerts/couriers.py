"""All that is sent as digests: one courier for each alert and kind of sender."""

from __future__ import annotations

import asyncio
from functools import partial

from enricher.alerts.channel import Channel
from enricher.alerts.compiled import Compiled, Terms
from enricher.alerts.counts import Counts
from enricher.alerts.courier import Courier
from enricher.alerts.told import Told
from enricher.connections import Connections
from enricher.waiting import end, happens, surely

GATHER_S = 0.2
"""Seconds that a match waits for others to be looked up with it."""

Key = tuple[str, str]
"""The name of an alert, and the kind of sender."""


class Couriers:
    """Keeps the couriers, and looks up for them what was told before.

    Args:
        connections: Redis may be among them.
    """

    def __init__(self, connections: Connections) -> None:
        self.by_key: dict[Key, Courier] = {}
        self.counts: dict[Key, Counts] = {}
        """Of removed ones, too."""
        redis = connections.redis
        self._told = Told(redis) if redis and redis.url and not redis.cluster else None
        self._unchecked = asyncio.Event()
        self._closing = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None

    def update(self, name: str, compiled: Compiled | None) -> list[Courier]:
        """Give those who take an alert's matches from now on; None: there is no such alert."""
        terms = compiled.terms if compiled else {}
        for key in [one for one in self.by_key if one[0] == name and one[1] not in terms]:
            self.by_key.pop(key).finish()
        return [self._courier((name, kind), each) for kind, each in terms.items()]

    def _courier(self, key: Key, terms: Terms) -> Courier:
        known = self.by_key.get(key)
        if known:
            known.change(terms)
            return known
        counts = self.counts.setdefault(key, Counts())
        channel = Channel(key[0], terms.rules, counts, shared=self._told is not None)
        courier = Courier(f"alert {key[0]} by {key[1]}", channel, terms, self._told)
        courier.on_unchecked = self._unchecked.set
        self.by_key[key] = courier
        if self._group and not self._closing.is_set():
            self._group.create_task(_run(courier))
        return courier

    async def run(self) -> None:
        """Send until told to finish."""
        async with asyncio.TaskGroup() as self._group:
            self._group.create_task(self._closing.wait())  # others may come with a reload
            for courier in self.by_key.values():
                self._group.create_task(_run(courier))
            if self._told:
                self._group.create_task(surely("look-up", partial(self._look_up, self._told)))

    async def _look_up(self, told: Told) -> None:
        """Look up what was told by others, in one go for all the matches that came meanwhile."""
        closing = False
        while not closing:
            await self._unchecked.wait()
            await happens(self._closing, GATHER_S)
            self._unchecked.clear()
            closing = self._closing.is_set()
            waiting = [
                (courier, [one.fingerprint for one in courier.channel.unchecked])
                for courier in self.by_key.values()
            ]
            found = await told.which([one for _, some in waiting for one in some])
            for courier, some in waiting:
                courier.checked(len(some), found)
        self._finish_each()

    def finish(self) -> None:
        """Make `run()` send at once what waits, and end."""
        self._closing.set()
        self._unchecked.set()
        if not self._told:
            self._finish_each()

    def _finish_each(self) -> None:
        for courier in self.by_key.values():
            courier.finish()

    async def close(self) -> None:
        """Free what is shared."""
        if self._told:
            await end(self._told.close)


async def _run(courier: Courier) -> None:
    try:
        await surely(courier.name, courier.run)
    finally:
        await courier.close()
