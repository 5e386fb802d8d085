"""Write outputs to Redis: values that expire."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from enricher.connections import RedisConnection
from enricher.histogram import Histogram
from enricher.lookups.cluster import Cluster
from enricher.lookups.redis import CLUSTER
from enricher.lookups.server import Command, RedisServer
from enricher.model import Output, Rejected, Unavailable
from enricher.waiting import Backoff, Notice

TRIP_BYTES = 1 << 20
"""Bytes of values in one round trip at most, or one value: a batch's outputs are mostly fewer."""
_BACKOFF = Backoff(base_s=0.05, cap_s=1.0)


class RedisSink:
    """Sets each output's key, a batch with one round trip; waits while Redis is away.

    Nothing is ever refused for good: what a server says against a `SET` (out of memory, read
    only, no rights) is no fault of the value. Where the outcome is not known the same command is
    sent again, which changes nothing.

    Args:
        connection: One server, or a cluster.
    """

    def __init__(self, connection: RedisConnection) -> None:
        """Prepare, without touching the network. Raises UserError for an unusable TLS file."""
        self.retries = 0
        """Batches that were sent again, in whole or in part."""
        self.latency = Histogram()
        """Of round trips, in seconds."""
        self.blocked: str | None = None
        """Why nothing can be written at the moment, for readiness."""
        self._notice = Notice()
        self._one_at_a_time = asyncio.Lock()
        self._server: RedisServer | Cluster
        if connection.cluster:
            self._server = Cluster(connection)
        else:
            (options,) = connection.client_options()
            self._server = RedisServer(options, connection.timeout_ms / 1000)

    async def open(self) -> None:
        """Do nothing: the first output connects."""

    async def write(self, outputs: list[Output]) -> list[Rejected]:
        """Return once every value is set; gives nothing, as none is refused.

        Batches go one after the other: of two values with one key the later one stays.
        """
        async with self._one_at_a_time:
            for trip in _trips({output.key: output for output in outputs}.values()):
                await self._set(trip)
        return []

    async def _set(self, outputs: Sequence[Output]) -> None:
        attempt = 0
        while outputs:
            with self.latency.time():
                answers = await self._ask(outputs)
            both = zip(outputs, answers, strict=True)
            left = [(output, answer) for output, answer in both if answer is not True]
            outputs = [output for output, _ in left]
            if left:
                attempt += 1
                self.retries += 1
                self._explain(left[0][1])
                await asyncio.sleep(_BACKOFF.delay(attempt))
        self.blocked = None

    def _explain(self, answer: object) -> None:
        why = answer if isinstance(answer, Unavailable) else CLUSTER  # MOVED and the like
        self.blocked = f"{why}; outputs wait for it"
        self._notice.error(self.blocked)

    async def _ask(self, outputs: Sequence[Output]) -> list[Any]:
        written = sum(len(output.body) for output in outputs)
        if isinstance(self._server, Cluster):
            by_key = {output.key: output for output in outputs}
            return await self._server.ask(
                list(by_key), lambda keys: command(by_key[keys[0]]), written=written
            )
        try:
            return await self._server.ask([command(output) for output in outputs], written)
        except Unavailable as error:
            return [error] * len(outputs)

    async def close(self) -> None:
        """Free the connections."""
        await self._server.close()


def command(output: Output) -> Command:
    """Write the command that sets an output's key."""
    return ("SET", output.key, output.body, "EX", str(output.to.expire_s))


def _trips(outputs: Iterable[Output]) -> Iterator[list[Output]]:
    trip: list[Output] = []
    size = 0
    for output in outputs:
        if trip and size + len(output.body) > TRIP_BYTES:
            yield trip
            trip, size = [], 0
        trip.append(output)
        size += len(output.body)
    if trip:
        yield trip
