"""Look up in one Redis or Valkey server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from enricher.connections import RedisConnection
from enricher.lookups.server import Command, RedisServer
from enricher.lookups.store import Answer
from enricher.model import Failure, Unavailable

CLUSTER = "redis sends elsewhere: it is a cluster, set connections.redis.cluster to true"


class RedisLookups:
    """Asks one server, with one round trip a batch; connects when it is first asked."""

    lasting = True

    def __init__(self, connection: RedisConnection) -> None:
        """Prepare, without touching the network. Raises UserError for an unusable TLS file."""
        (options,) = connection.client_options()
        self._server = RedisServer(options, connection.timeout_ms / 1000)
        self.servers: Sequence[RedisServer] = (self._server,)
        """For whoever watches."""

    async def get_many(
        self, keys: Sequence[str], hash_fields: Sequence[str] | None = None
    ) -> list[Answer]:
        """Give what is stored under each key, with one MGET or with one pipeline of hashes."""
        from redis.exceptions import ResponseError

        commands: list[Command] = [("MGET", *keys)]
        if hash_fields is not None:
            commands = [hash_command(key, hash_fields) for key in keys]
        try:
            answers = await self._server.ask(commands)
        except Unavailable as error:
            return [error] * len(keys)
        if any(isinstance(answer, ResponseError) for answer in answers):
            return [Unavailable(CLUSTER)] * len(keys)
        if hash_fields is None:
            return values(answers[0], len(keys))
        return [as_json(answer, hash_fields) for answer in answers]

    async def run_each(self, commands: Mapping[str, Command], written: int) -> dict[str, Any]:
        """Send one command for each key, in one round trip; give what each was answered.

        Never raises: `Unavailable` or `Failure` stands where there is no answer.
        """
        from redis.exceptions import AskError

        try:
            answers = await self._server.ask(list(commands.values()), written)
        except Unavailable as error:
            return dict.fromkeys(commands, error)
        if any(isinstance(answer, AskError) for answer in answers):
            return dict.fromkeys(commands, Unavailable(CLUSTER))
        return dict(zip(commands, answers, strict=True))

    async def close(self) -> None:
        """Free the connections."""
        await self._server.close()


def hash_command(key: str, fields: Sequence[str]) -> Command:
    """Write the command for some fields of a hash, for all where none is named."""
    return ("HMGET", key, *fields) if fields else ("HGETALL", key)


def values(answer: Any, count: int) -> list[Answer]:
    """Read the answer to an MGET of so many keys."""
    return [answer] * count if isinstance(answer, Unavailable) else list(answer)


def as_json(answer: Any, fields: Sequence[str]) -> Answer:
    """Write a hash as a JSON object of texts; None where nothing of it is there."""
    if isinstance(answer, (Failure, Unavailable)):
        return answer
    pairs = zip(fields, answer, strict=True) if fields else answer.items()
    try:
        texts = {
            name if isinstance(name, str) else name.decode(): value.decode()
            for name, value in pairs
            if value is not None
        }
    except UnicodeDecodeError:
        return Failure("the stored hash is not UTF-8")
    return orjson.dumps(texts) if texts else None
