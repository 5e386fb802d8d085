"""Look up in a Redis cluster: every server is asked for its own slots, all at the same time."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from enricher.connections import RedisConnection
from enricher.lookups.redis import as_json, hash_command, values
from enricher.lookups.server import Command, RedisServer
from enricher.lookups.store import Answer
from enricher.model import Unavailable

ROUNDS = 3
"""Trips for one batch at most: keys may have moved, and be on the move again."""
LEARN_EVERY_S = 1.0
"""The map of the slots is asked for no more often, in seconds, while a server is away."""
_NO_MAP = "redis cannot be asked: no server has told yet which slots are whose"
_MOVING = "redis cannot be asked: the key is being moved within the cluster"


class Question(NamedTuple):
    """Keys of one slot that one server is asked for, with one command."""

    server: RedisServer
    keys: Sequence[str]
    asking: bool = False
    """Whether the slot is only on its way to that server."""


class Cluster:
    """The servers of a cluster, each asked with one round trip a batch.

    Of several keys, a command may only ask for those of one slot. A server that is away hinders
    the keys of its own slots alone.
    """

    def __init__(self, connection: RedisConnection) -> None:
        """Prepare, without touching the network. Raises UserError for an unusable TLS file."""
        self._timeout_s = connection.timeout_ms / 1000
        options = connection.client_options()
        self._options = options[0]
        self._servers: dict[str, RedisServer] = {}
        self._seeds = frozenset([self._server(one["host"], one["port"]) for one in options])
        self._slots: list[RedisServer] = []
        """Who has each slot, once that is known."""
        self._is_outdated = True
        self._learn_at = 0.0
        self._why = _NO_MAP

    @property
    def servers(self) -> Sequence[RedisServer]:
        """Give those that are known, for whoever watches."""
        return list(self._servers.values())

    async def ask(
        self,
        keys: Sequence[str],
        command: Callable[[Sequence[str]], Command],
        *,
        together: bool = False,
        written: int = 0,
    ) -> list[Any]:
        """Give what each key is answered with, or what hinders it. Never raises.

        Args:
            keys: all different.
            command: writes it for one key, or for several of one slot.
            together: whether it takes several, and is answered with a list.
            written: bytes of the values in the commands.
        """
        if self._is_outdated and time.monotonic() >= self._learn_at:
            await self._learn()
        if not self._slots:
            return [Unavailable(self._why)] * len(keys)
        questions = self._questions(keys, together=together)
        found: dict[str, Any] = {}
        for _ in range(ROUNDS):
            answered = await self._ask(questions, command, written)
            questions = []
            for question, answer in answered:
                elsewhere = self._redirected(question, answer)
                questions += elsewhere
                if not elsewhere:
                    each = values(answer, len(question.keys)) if together else [answer]
                    found.update(zip(question.keys, each, strict=True))
            if not questions:
                break
        return [found.get(key, Unavailable(_MOVING)) for key in keys]

    async def close(self) -> None:
        """Free the connections."""
        await asyncio.gather(*(server.close() for server in self.servers))

    def _questions(self, keys: Iterable[str], *, together: bool) -> list[Question]:
        from redis.crc import key_slot

        slots: dict[int, list[str]] = defaultdict(list)
        for key in keys:
            slots[key_slot(key.encode())].append(key)
        if together:
            return [Question(self._slots[slot], those) for slot, those in slots.items()]
        return [Question(self._slots[slot], [key]) for slot in slots for key in slots[slot]]

    async def _ask(
        self,
        questions: Sequence[Question],
        command: Callable[[Sequence[str]], Command],
        written: int,
    ) -> list[tuple[Question, Any]]:
        """Ask every server at the same time. Gives each question with its answer."""
        by_server: dict[RedisServer, list[Question]] = defaultdict(list)
        for question in questions:
            by_server[question.server].append(question)
        answered = await asyncio.gather(
            *(self._ask_one(one, those, command, written) for one, those in by_server.items())
        )
        return [
            pair
            for those, answers in zip(by_server.values(), answered, strict=True)
            for pair in zip(those, answers, strict=True)
        ]

    async def _ask_one(
        self,
        server: RedisServer,
        questions: Sequence[Question],
        command: Callable[[Sequence[str]], Command],
        written: int,
    ) -> list[Any]:
        commands: list[Command] = []
        for question in questions:
            commands += [("ASKING",)] if question.asking else []
            commands.append(command(question.keys))
        try:
            answers = iter(await server.ask(commands, written))
        except Unavailable as error:
            self._is_outdated = True  # another may have taken its place
            return [error] * len(questions)
        return [[next(answers) for _ in range(1 + one.asking)][-1] for one in questions]

    def _redirected(self, question: Question, answer: Any) -> list[Question]:
        """Say where to ask instead, and remember it where that is for good."""
        from redis.exceptions import AskError, MovedError, TryAgainError

        if isinstance(answer, MovedError):
            server = self._server(answer.host or question.server.host, answer.port)
            self._slots[answer.slot_id] = server
            self._is_outdated = True
            return [Question(server, question.keys)]
        if isinstance(answer, AskError):
            server = self._server(answer.host or question.server.host, answer.port)
            return [Question(server, [key], asking=True) for key in question.keys]
        if isinstance(answer, TryAgainError):  # some of the keys are here, some there
            return [Question(question.server, [key]) for key in question.keys]
        return []

    async def _learn(self) -> None:
        """Take the map of the slots from the first server that gives it."""
        self._learn_at = time.monotonic() + LEARN_EVERY_S
        for server in self.servers:
            try:
                (told,) = await server.ask([("CLUSTER", "SLOTS")])
            except Unavailable as error:
                self._why = str(error)
                continue
            if not isinstance(told, list):
                self._why = (
                    f"redis at {server.name} is no cluster: set connections.redis.cluster to false"
                )
                continue
            self._slots = self._read(told, server)
            self._is_outdated = False
            kept = self._seeds.union(self._slots)
            gone = [name for name, one in self._servers.items() if one not in kept]
            await asyncio.gather(*(self._servers.pop(name).close() for name in gone))
            return

    def _read(self, told: Iterable[Any], teller: RedisServer) -> list[RedisServer]:
        """Read the answer to CLUSTER SLOTS: first and last slot, their server, its replicas."""
        slots = [teller] * SLOTS  # who is asked for a slot that nobody has says so
        for first, last, (host, port, *_), *_ in told:
            server = self._server(host.decode() if host else teller.host, port)
            slots[first : last + 1] = [server] * (last + 1 - first)
        return slots

    def _server(self, host: str, port: int) -> RedisServer:
        """Give a server, one that was not known, too."""
        name = f"{host}:{port}"
        if name not in self._servers:
            options = self._options | {"host": host, "port": port}
            self._servers[name] = RedisServer(options, self._timeout_s)
        return self._servers[name]


class ClusterLookups:
    """Looks up in a cluster."""

    lasting = True

    def __init__(self, connection: RedisConnection) -> None:
        """Prepare, without touching the network. Raises UserError for an unusable TLS file."""
        self._cluster = Cluster(connection)

    @property
    def servers(self) -> Sequence[RedisServer]:
        """Give those that are known, for whoever watches."""
        return self._cluster.servers

    async def get_many(
        self, keys: Sequence[str], hash_fields: Sequence[str] | None = None
    ) -> list[Answer]:
        """Give what is stored under each key, with one round trip to each server."""
        if hash_fields is None:
            return await self._cluster.ask(keys, lambda those: ("MGET", *those), together=True)
        answers = await self._cluster.ask(keys, lambda one: hash_command(one[0], hash_fields))
        return [as_json(answer, hash_fields) for answer in answers]

    async def run_each(self, commands: Mapping[str, Command], written: int) -> dict[str, Any]:
        """Send one command for each key, in one round trip to each server; give the answers.

        Never raises: `Unavailable` or `Failure` stands where there is no answer.
        """
        keys = list(commands)
        answers = await self._cluster.ask(keys, lambda one: commands[one[0]], written=written)
        return dict(zip(keys, answers, strict=True))

    async def close(self) -> None:
        """Free the connections."""
        await self._cluster.close()


SLOTS = 16_384
