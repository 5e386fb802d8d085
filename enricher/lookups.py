"""The stores that `lookup` stages ask: Redis, a file, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from enricher.connections import RedisConnection, reveal
from enricher.model import Unavailable, UserError
from enricher.stages.base import Lookups, NoLookups


class RedisLookups:
    """Asks Redis with one MGET; connects when it is first asked."""

    lasting = True

    def __init__(self, connection: RedisConnection) -> None:
        """Prepare, without touching the network. Raises UserError for a URL of no use."""
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        timeout_s = connection.timeout_ms / 1000
        try:
            self._client: Any = Redis.from_url(
                reveal(connection.url) or "",
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),  # the pipeline has its own patience
            )
        except ValueError:  # its text may hold a piece of the password
            raise UserError(
                "connections.redis.url cannot be used; write redis://localhost:6379/0"
            ) from None

    async def get_many(self, keys: list[str]) -> list[bytes | None]:
        """Give the raw values in order. Raises Unavailable."""
        from redis.exceptions import RedisError

        try:
            values: list[bytes | None] = await self._client.mget(keys)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"redis cannot be asked: {type(error).__name__}") from None
        return values


class FileLookups:
    """Answers from a file of `{"key": …, "value": …}` lines, read once."""

    lasting = True

    def __init__(self, file: Path) -> None:
        self._values = read_lookups(file)

    async def get_many(self, keys: list[str]) -> list[bytes | None]:
        """Give the raw values in order."""
        return [self._values.get(key) for key in keys]


def read_lookups(file: Path) -> dict[str, bytes]:
    """Read a file of lookups; a text value is kept as it is, any other as JSON.

    Raises UserError that names the file and the line.
    """
    values: dict[str, bytes] = {}
    number = 0
    try:
        with file.open("rb") as lines:
            for line in lines:
                number += 1
                if line.strip():
                    entry = orjson.loads(line)
                    value = entry["value"]
                    values[entry["key"]] = (
                        value.encode() if isinstance(value, str) else orjson.dumps(value)
                    )
    except OSError as error:
        raise UserError(f"lookups {file} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f'{file}:{number}: write {{"key": …, "value": …}}, one a line') from None
    return values


def open_lookups(connection: RedisConnection | None) -> Lookups:
    """Choose the store by its connection."""
    if connection is not None and connection.file is not None:
        return FileLookups(connection.file)
    if connection is not None and connection.url is not None:
        return RedisLookups(connection)
    return NoLookups()
