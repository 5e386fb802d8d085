"""What was told already, in Redis: it outlasts a restart, and workers share it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from enricher.alerts.channel import Fingerprint
from enricher.connections import RedisConnection
from enricher.waiting import Notice

PREFIX = "enricher:{told}:"
"""Of the keys; what follows is a hash, so that no data of an event is a key. The braces keep all of
them in one slot of a cluster, for they are asked for together."""
TIMEOUT_S = 2.0
"""Of one round trip. A look-up has less, since the pipeline waits for it; nothing waits here."""
AWAY_S = 5.0
"""Seconds in which Redis is not asked once it did not answer."""
MOST_KEYS = 500
"""Keys of one round trip."""


class Told:
    """Remembers fingerprints; where Redis is away it knows nothing, and nobody waits for it."""

    def __init__(self, connection: RedisConnection) -> None:
        """Prepare, without touching the network. Raises UserError for an unusable TLS file."""
        from redis.asyncio import ConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        (options,) = connection.client_options()
        options |= {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
        pool = ConnectionPool(**options, retry=Retry(NoBackoff(), 0))
        self._client: Any = Redis(connection_pool=pool)
        self._away_until = 0.0
        self._notice = Notice()

    async def which(self, fingerprints: Sequence[Fingerprint]) -> set[Fingerprint]:
        """Give those that were told; none where Redis cannot say so."""
        found: list[Any] = []
        for some in parts(fingerprints):
            answers = await self._do([("MGET", *map(_key, some))])
            found += answers[0] if answers else [None] * len(some)
        return {one for one, value in zip(fingerprints, found, strict=True) if value}

    async def mark(self, fingerprints: Sequence[Fingerprint], seconds: int) -> None:
        """Note that these are told, for so many seconds."""
        for some in parts(fingerprints):
            await self._do([("SET", _key(one), b"1", "EX", seconds, "NX") for one in some])

    async def _do(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run commands in one round trip; no answers where it cannot."""
        from redis.exceptions import RedisError

        if time.monotonic() < self._away_until:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        try:
            answers: list[Any] = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + AWAY_S
            self._notice.error(
                f"redis cannot be asked ({type(error).__name__}): until it can, what was told "
                "before a restart or by other workers may be told again"
            )
            return []
        return answers

    async def close(self) -> None:
        """Free the connections."""
        await self._client.aclose(close_connection_pool=True)


def parts(fingerprints: Sequence[Fingerprint]) -> Iterator[Sequence[Fingerprint]]:
    """Part fingerprints into those of one round trip each."""
    for at in range(0, len(fingerprints), MOST_KEYS):
        yield fingerprints[at : at + MOST_KEYS]


def _key(fingerprint: Fingerprint) -> str:
    return PREFIX + fingerprint.hex()
