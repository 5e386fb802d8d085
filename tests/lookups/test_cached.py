"""What one stage does with a store that is there, away, and back: real Valkey, and a clock of the test's."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import orjson
import pytest
from pydantic import SecretStr
from redis import Redis

from enricher.connections import RedisConnection
from enricher.fragments import Rows
from enricher.lookups.cache import Cache, Found
from enricher.lookups.cached import CachedStore
from enricher.lookups.redis import RedisLookups
from enricher.lookups.store import Answer
from enricher.lookups.value import footprint, parse
from enricher.model import Shared

from .stores import AWAY, Store

PATIENCE_S = 20.0
SECONDS = 60.0


def read(answer: Answer) -> Found:
    if answer is None:
        return None
    stored = parse(answer) if isinstance(answer, bytes) else str(answer)
    return stored if isinstance(stored, str) else Shared(stored)


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def cached(store: Any, clock: Clock, *, waits: bool = False, limit: int = 1 << 20) -> CachedStore:
    cache = Cache(SECONDS, limit, clock)
    return CachedStore("user", store, cache, read, None, 100, waits)


@pytest.fixture
def server(valkey: Any) -> Iterator[Redis]:
    client = Redis.from_url(valkey.url)
    client.flushdb()
    client.mset({"u:1": '{"n":1}', "u:2": '{"n":2}', "u:bad": "["})
    client.config_resetstat()
    yield client
    client.close()


@asynccontextmanager
async def redis(url: str) -> AsyncIterator[RedisLookups]:
    store = RedisLookups(RedisConnection(url=SecretStr(url)))
    try:
        yield store
    finally:
        await store.close()


async def until(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not found():
            await asyncio.sleep(0.01)


def mgets(server: Redis) -> int:
    stats: Any = server.info("commandstats")
    return int(stats.get("cmdstat_mget", {"calls": 0})["calls"])


async def test_each_key_is_asked_once_while_it_is_fresh(valkey: Any, server: Redis) -> None:
    """One that is not there and one of no use, too; then anew. Counted by event."""
    clock = Clock()
    keys = ["u:1", "u:1", None, "u:9", "u:bad", "u:1"]
    found = [{"n": 1}, {"n": 1}, None, None, "the stored value is not JSON", {"n": 1}]
    async with redis(valkey.url) as store:
        user = cached(store, clock)
        for _ in range(3):
            assert await user.fetch(keys) == found
        assert mgets(server) == 1
        assert asdict(user.answered) == {"cache": 10, "store": 5, "stale": 0, "nobody": 0}
        server.set("u:9", '{"n":9}')
        clock.now = SECONDS
        assert (await user.fetch(keys))[3] == {"n": 9}
        assert mgets(server) == 2
        assert await user.fetch(["u:2", "u:1"]) == [{"n": 2}, {"n": 1}]
        assert mgets(server) == 3  # and for the one key alone


async def test_what_has_expired_serves_while_redis_is_away(valkey: Any, server: Redis) -> None:
    """Also that there was nothing; what was never known is a failure; then everything is asked anew."""
    clock = Clock()
    async with redis(valkey.url) as store:
        user = cached(store, clock)
        await user.fetch(["u:1", "u:9"])
        valkey.kill()
        clock.now = 10 * SECONDS
        for _ in range(5):
            one, none, never, nobody = await user.fetch(["u:1", "u:9", "u:2", None])
            assert (one, none, nobody) == ({"n": 1}, None, None)
            assert isinstance(never, str)
            assert never.startswith("redis cannot be asked: ")
        assert asdict(user.answered) == {"cache": 0, "store": 2, "stale": 10, "nobody": 5}
        assert user.blocked is None
        valkey.start()
        server.set("u:1", '{"n":11}')
        await until(lambda: store.servers[0].breaker.reason is None)
        assert await user.fetch(["u:1", "u:2"]) == [{"n": 11}, {"n": 2}]


@pytest.mark.parametrize("how", ["killed", "hung"])
async def test_a_batch_that_waits(valkey: Any, server: Redis, how: str) -> None:
    """It does not make do with what has expired; it says why it waits, and goes on by itself."""
    clock = Clock()
    async with redis(valkey.url) as store:
        user = cached(store, clock, waits=True)
        await user.fetch(["u:1"])
        valkey.kill() if how == "killed" else valkey.pause()
        clock.now = 10 * SECONDS
        waiting = asyncio.create_task(user.fetch(["u:1", "u:2", None]))
        await until(lambda: user.blocked is not None)
        assert str(user.blocked).startswith("user: redis cannot be asked: ")
        assert str(user.blocked).endswith("records wait, nothing is lost")
        assert await asyncio.wait_for(user.fetch([None]), PATIENCE_S) == [None]
        await until(lambda: store.servers[0].breaker.reason is not None)
        assert not waiting.done()
        valkey.start() if how == "killed" else valkey.resume()
        assert await asyncio.wait_for(waiting, PATIENCE_S) == [{"n": 1}, {"n": 2}, None]
        assert user.blocked is None
        assert asdict(user.answered) == {"cache": 0, "store": 3, "stale": 0, "nobody": 0}


async def test_a_wait_can_be_cancelled() -> None:
    """As by the deadline of a drain: it leaves nothing behind."""
    store = Store({})
    store.is_away = True
    user = cached(store, Clock(), waits=True)
    waiting = asyncio.create_task(user.fetch(["u:1"]))
    await until(lambda: user.blocked is not None)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert user.blocked is None


async def test_only_those_wait_that_could_not_be_asked() -> None:
    """Of a cluster with one server away, the other keys are asked once."""
    store = Store({"a": b"{}"})

    class Half(Store):
        async def get_many(self, keys: Any, hash_fields: Any = None) -> list[Answer]:
            found = await super().get_many(keys, hash_fields)
            away = await store.get_many(["x"])
            return [away[0] if key == "x" else one for key, one in zip(keys, found, strict=True)]

    store.is_away = True
    half = Half({"a": b'{"n":1}'})
    user = cached(half, Clock(), waits=True)
    waiting = asyncio.create_task(user.fetch(["a", "x"]))
    await until(lambda: len(half.asked) >= 2)
    store.is_away = False
    assert await asyncio.wait_for(waiting, PATIENCE_S) == [{"n": 1}, None]
    assert half.asked[0] == ["a", "x"]
    assert all(keys == ["x"] for keys in half.asked[1:])


async def test_memory_for_answers_is_bounded() -> None:
    """The oldest make room; a batch that is larger than all room still gets its answers."""
    store = Store({f"u:{n}": b'{"n":%d}' % n for n in range(500)})
    user = cached(store, Clock(), limit=150_000)
    for n in range(500):
        assert await user.fetch([f"u:{n}"]) == [{"n": n}]
    assert user.cache.size <= 150_000
    assert 100 < len(user.cache.last([f"u:{n}" for n in range(500)])) < 200
    everybody = [f"u:{n}" for n in range(500)]
    assert await user.fetch([*everybody]) == [{"n": n} for n in range(500)]
    store.is_away = True
    found = await user.fetch([*everybody])
    known = [n for n, one in enumerate(found) if one != AWAY]
    assert 100 < len(known) < 200
    assert all(found[n] == {"n": n} for n in known)


async def test_what_another_batch_makes_go_meanwhile_is_answered() -> None:
    """An answer is taken from the cache before the store is asked for the others."""
    gate = asyncio.Event()

    class Slow(Store):
        async def get_many(self, keys: Any, hash_fields: Any = None) -> list[Answer]:
            if "slow" in keys:
                await gate.wait()
            return await super().get_many(keys, hash_fields)

    store = Slow({key: b'{"k":"%s"}' % key.encode() for key in ("a", "slow", "big")})
    user = cached(store, Clock(), limit=1000)
    assert await user.fetch(["a"]) == [{"k": "a"}]
    waiting = asyncio.create_task(user.fetch(["a", "slow"]))
    await asyncio.sleep(0)
    await user.fetch(["big"])
    assert "a" not in user.cache.last(["a"])
    gate.set()
    assert await waiting == [{"k": "a"}, {"k": "slow"}]


async def test_a_key_that_cannot_be_sent_is_the_events_trouble() -> None:
    store = Store({})
    user = cached(store, Clock())
    long, odd, fine = await user.fetch(["x" * 101, "\ud800", "a"])
    assert long == "the key is longer than 100 bytes"
    assert odd == "the key is not UTF-8"
    assert fine is None
    assert store.asked == [["a"]]


@pytest.mark.parametrize(
    "value",
    [
        {"n": 0},
        {"since": "2024-01-01", "tier": "gold", "spent": 17.5},
        {"text": "x" * 2000},
        {"list": [{"a": n} for n in range(50)]},
        {f"field{n}": n for n in range(40)},
    ],
    ids=lambda value: next(iter(value)),
)
def test_what_an_answer_takes_is_not_underestimated(value: dict[str, Any]) -> None:
    """As Python's objects, and as the piece of JSON that the fast way makes of them."""
    answers = [orjson.dumps({f"{key}_{n}": one for key, one in value.items()}) for n in range(1000)]
    cache, rows = Cache(SECONDS, 1 << 40), Rows(frozenset(), ["user"])
    tracemalloc.start()
    for n, answer in enumerate(answers):
        key, found = f"user:{n:010d}", Shared({"user": orjson.loads(answer), "days": 1000 + n})
        rows.make(found)
        cache.add(key, found, footprint(answer) + len(key))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 1.1 * cache.size
