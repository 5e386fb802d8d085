"""A real cluster of three: one round trip to each server, and slots that move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.crc import key_slot

from enricher.connections import RedisConnection
from enricher.lookups.cluster import ClusterLookups
from enricher.lookups.redis import RedisLookups
from enricher.model import Unavailable
from tests.servers.valkey import Valkey, ValkeyCluster

PATIENCE_S = 30.0
KEYS = [f"user:{number}" for number in range(600)]
HASHES = [f"hash:{number}" for number in range(60)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    made = ValkeyCluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


class Nodes:
    """A client of the tests' own for each server."""

    def __init__(self, cluster: ValkeyCluster) -> None:
        self.servers = cluster.nodes
        self.clients: list[Any] = [Redis.from_url(node.url) for node in cluster.nodes]
        self.ids = [
            str(client.execute_command("CLUSTER", "MYID").decode()) for client in self.clients
        ]

    def owner(self, key: str) -> int:
        """Give the number of the server that has a key's slot."""
        mine = [
            client.execute_command("CLUSTER", "COUNTKEYSINSLOT", key_slot(key.encode()))
            for client in self.clients
        ]
        return mine.index(max(mine))

    def calls(self, command: str) -> list[int]:
        stats: list[Any] = [client.info("commandstats") for client in self.clients]
        return [one.get(f"cmdstat_{command}", {"calls": 0})["calls"] for one in stats]

    def everywhere(self, *command: Any) -> None:
        for client in self.clients:
            client.execute_command(*command)


@pytest.fixture
def nodes(running: ValkeyCluster) -> Iterator[Nodes]:
    """Fill the cluster in; what a test has moved is where it was again."""
    running.wait_until_whole()
    found = Nodes(running)
    found.everywhere("FLUSHALL")
    for key in KEYS:
        put(found, "SET", key, f'"{key}"')
    for key in HASHES:
        put(found, "HSET", key, "name", key, "n", "1")
    found.everywhere("CONFIG", "RESETSTAT")
    yield found
    for client in found.clients:
        client.close()


def put(nodes: Nodes, *command: str) -> None:
    """Write to whoever takes it."""
    for client in nodes.clients:
        try:
            client.execute_command(*command)
        except Exception:
            continue
        return
    raise AssertionError(command)


@asynccontextmanager
async def lookups(url: str, **options: Any) -> AsyncIterator[ClusterLookups]:
    made = ClusterLookups(RedisConnection(url=SecretStr(url), cluster=True, **options))
    try:
        yield made
    finally:
        await made.close()


def trips(store: ClusterLookups) -> int:
    return sum(server.round_trips for server in store.servers)


async def until(found: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await found():
            await asyncio.sleep(0.05)


async def test_one_round_trip_to_each_server(running: ValkeyCluster, nodes: Nodes) -> None:
    """One MGET a slot, as a cluster wants it, all those of a server at once; any server tells of the others."""
    async with lookups(running.nodes[1].url) as store:
        expected = [f'"{key}"'.encode() for key in KEYS] + [None]
        assert await store.get_many([*KEYS, "user:none"]) == expected
        assert len(store.servers) == 3
        before = trips(store)
        assert await store.get_many([*KEYS, "user:none"]) == expected
        assert trips(store) == before + 3
        slots = {key_slot(key.encode()) for key in [*KEYS, "user:none"]}
        assert sum(nodes.calls("mget")) == 2 * len(slots)


async def test_hashes(running: ValkeyCluster, nodes: Nodes) -> None:
    async with lookups(running.urls) as store:
        whole = await store.get_many([*HASHES, "hash:none"], ())
        assert whole == [f'{{"name":"{key}","n":"1"}}'.encode() for key in HASHES] + [None]
        before = trips(store)
        assert await store.get_many(HASHES, ("n",)) == [b'{"n":"1"}'] * len(HASHES)
        assert trips(store) == before + 3


async def test_a_slot_that_moves(running: ValkeyCluster, nodes: Nodes) -> None:
    """While it moves, keys are found where they are; afterwards nobody asks the old place any more."""
    tag = "{moving}"
    keys = [f"{tag}:{number}" for number in range(6)]
    for key in keys:
        put(nodes, "SET", key, "1")
    slot, old = key_slot(b"moving"), nodes.owner(tag)
    new = (old + 1) % 3
    async with lookups(running.urls) as store:
        assert await store.get_many(keys) == [b"1"] * 6
        nodes.clients[new].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", nodes.ids[old])
        nodes.clients[old].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", nodes.ids[new])
        move(nodes, old, new, keys[:3])
        assert await store.get_many(keys) == [b"1"] * 6  # half of them here, half there
        move(nodes, old, new, keys[3:])
        assert await store.get_many(keys) == [b"1"] * 6  # all there, and the slot still here
        for number in (new, old, 3 - old - new):
            nodes.clients[number].execute_command(
                "CLUSTER", "SETSLOT", slot, "NODE", nodes.ids[new]
            )
        assert await store.get_many(keys) == [b"1"] * 6  # sent on
        nodes.everywhere("CONFIG", "RESETSTAT")
        before = trips(store)
        assert await store.get_many(keys) == [b"1"] * 6
        assert trips(store) - before <= 2  # straight there, and maybe the map of the slots
        assert nodes.calls("mget")[new] == sum(nodes.calls("mget")) == 1


def move(nodes: Nodes, old: int, new: int, keys: list[str]) -> None:
    place = ("127.0.0.1", nodes.servers[new].port)
    nodes.clients[old].execute_command("MIGRATE", *place, "", 0, 5000, "KEYS", *keys)


async def test_a_server_that_is_away_takes_only_its_own_keys_along(
    running: ValkeyCluster, nodes: Nodes
) -> None:
    """The others answer, without waiting for it; it is asked again by itself once it is back."""
    async with lookups(running.urls) as store:
        assert None not in await store.get_many(KEYS)
        running.nodes[1].kill()
        try:
            for _ in range(10):
                answers = await store.get_many(KEYS)
                there = [one for one in answers if isinstance(one, bytes)]
                away = [one for one in answers if isinstance(one, Unavailable)]
                assert len(there) + len(away) == len(KEYS)
                assert 150 < len(away) < 250
            assert sum(one.breaker.reason is not None for one in store.servers) == 1
        finally:
            running.nodes[1].start()

        async def is_whole() -> bool:
            return all(isinstance(one, bytes) for one in await store.get_many(KEYS))

        await until(is_whole)


async def test_a_seed_that_is_away(running: ValkeyCluster, nodes: Nodes) -> None:
    """The next one tells of the servers; where none does, each key says so."""
    dead = "redis://127.0.0.1:1"
    async with lookups(f"{dead},{running.nodes[2].url}") as store:
        assert await store.get_many(KEYS[:1]) == [b'"user:0"']
    async with lookups(dead) as store:
        for _ in range(5):
            (answer,) = await store.get_many(KEYS[:1])
            assert isinstance(answer, Unavailable)


async def test_the_wrong_setting_is_told(
    valkey: Valkey, running: ValkeyCluster, nodes: Nodes
) -> None:
    """A cluster that is not said to be one, and one that is not."""
    async with lookups(valkey.url) as store:
        (answer,) = await store.get_many(KEYS[:1])
        assert "is no cluster: set connections.redis.cluster to false" in str(answer)
    elsewhere = next(n for n in range(3) if n != nodes.owner(KEYS[0]))
    single = RedisLookups(RedisConnection(url=SecretStr(running.nodes[elsewhere].url)))
    for keys in (KEYS[:1], KEYS):
        answers = await single.get_many(keys)
        assert {str(one) for one in answers} == {
            "redis sends elsewhere: it is a cluster, set connections.redis.cluster to true"
        }
    await single.close()
