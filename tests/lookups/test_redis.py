"""One real server: what is sent to it, and what becomes of the batch when it does not answer."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from pydantic import SecretStr
from redis import Redis

from enricher.connections import RedisConnection
from enricher.lookups.breaker import FAILURES
from enricher.lookups.redis import RedisLookups
from enricher.lookups.store import Answer
from enricher.model import Failure, Unavailable
from tests.servers.relay import Relay

PATIENCE_S = 20.0
KEYS = [f"k:{number}" for number in range(1000)]


@pytest.fixture
def server(valkey: Any) -> Iterator[Redis]:
    """Give a client of the tests' own, on a server that holds nothing else."""
    client = Redis.from_url(valkey.url)
    client.flushdb()
    client.config_resetstat()
    yield client
    client.close()


@asynccontextmanager
async def lookups(url: str, **options: Any) -> AsyncIterator[RedisLookups]:
    made = RedisLookups(RedisConnection(url=SecretStr(url), **options))
    try:
        yield made
    finally:
        await made.close()


def commands(server: Redis) -> dict[str, int]:
    """Count what look-ups have sent, by command."""
    stats: Any = server.info("commandstats")
    counts = {name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}
    ours = ("mget", "hgetall", "hmget", "multi", "exec", "get")
    return {name: counts[name] for name in ours if name in counts}


async def until(found: Callable[[], Any]) -> None:
    """Wait until something is so; it may be a coroutine's answer."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            now = found()
            if await now if asyncio.iscoroutine(now) else now:
                return
            await asyncio.sleep(0.01)


def are_unavailable(answers: list[Answer], reason: str = "redis cannot be asked: ") -> bool:
    return all(isinstance(one, Unavailable) and reason in str(one) for one in answers)


async def test_one_command_a_batch(valkey: Any, server: Redis) -> None:
    """A thousand keys are one MGET, answered in their order; what is not there is None."""
    server.mset({key: f'"{key}"' for key in KEYS[:900]})
    async with lookups(valkey.url) as store:
        for _ in range(3):
            answers = await store.get_many(KEYS)
            assert answers == [f'"{key}"'.encode() for key in KEYS[:900]] + [None] * 100
        assert commands(server) == {"mget": 3}
        assert store.servers[0].round_trips == 3


async def test_hashes_in_one_round_trip(valkey: Any, server: Redis) -> None:
    """All of them or some fields, in a pipeline that is no transaction; texts, as Redis has them."""
    for key in KEYS[:50]:
        server.hset(key, mapping={"name": f"₹{key}", "n": 1.5, "z": ""})
    async with lookups(valkey.url) as store:
        whole = [
            orjson.loads(one) if isinstance(one, bytes) else one
            for one in await store.get_many(KEYS[:51], ())
        ]
        assert whole == [{"name": f"₹{key}", "n": "1.5", "z": ""} for key in KEYS[:50]] + [None]
        some = await store.get_many(KEYS[:51], ("n", "no"))
        assert some == [b'{"n":"1.5"}'] * 50 + [None]
        assert await store.get_many(KEYS[:2], ("no",)) == [None, None]
        assert commands(server) == {"hgetall": 51, "hmget": 53}
        assert store.servers[0].round_trips == 3


async def test_what_is_stored_otherwise_concerns_its_key_alone(valkey: Any, server: Redis) -> None:
    """A list where a hash should be, bytes that are no text; the server is not at fault."""
    server.set("text", "x")
    server.hset("hash", mapping={"a": "1"})
    server.hset("bytes", mapping={"a": b"\xff"})
    async with lookups(valkey.url) as store:
        for _ in range(FAILURES + 1):
            text, fine, odd = await store.get_many(["text", "hash", "bytes"], ())
            assert isinstance(text, Failure)
            assert str(text) == "the stored value is of another type"
            assert fine == b'{"a":"1"}'
            assert isinstance(odd, Failure)
            assert str(odd) == "the stored hash is not UTF-8"
        assert await store.get_many(["hash", "text"]) == [None, b"x"]
        assert store.servers[0].failures == 0


async def test_keys_are_only_keys(valkey: Any, server: Redis) -> None:
    """Whatever an event puts into them is asked for as it is, and nothing else is done."""
    keys = ["a b", "a\r\nFLUSHALL\r\n", "a\x00b", "*", "k:₹", '"', "$5\r\nhello", "k" * 512]
    values = [
        b"\r\n",
        b"*2\r\n$1\r\na\r\n",
        b"\x00\xff",
        b"",
        b"-ERR x",
        b"x" * 200_000,
        b"$-1",
        b":1",
    ]
    server.mset(dict(zip(keys, values, strict=True)))
    async with lookups(valkey.url) as store:
        assert await store.get_many(keys) == values
        assert await store.get_many(keys[::-1]) == values[::-1]
    assert server.dbsize() == len(keys)


async def test_a_late_answer_is_nobodys(valkey: Any, server: Redis) -> None:
    """The connection goes with its deadline: what comes afterwards is not taken for the next answer."""
    server.mset({key: key for key in KEYS})
    async with Relay(valkey.port) as relay, lookups(f"redis://127.0.0.1:{relay.port}") as store:
        assert await store.get_many(["k:0"]) == [b"k:0"]
        late = right = 0
        for number in range(60):
            relay.delay_s = (0.0, 0.03, 0.049, 0.05, 0.051, 0.08)[number % 6]
            key = KEYS[number]
            (answer,) = await store.get_many([key])
            late += isinstance(answer, Unavailable)
            right += answer == key.encode()
            if store.servers[0].breaker.reason:
                relay.delay_s = 0.0
                await until(lambda: not store.servers[0].breaker.reason)
        assert late + right == 60
        assert late >= 10
        assert right >= 10
        assert relay.accepted > 10


async def test_a_cancelled_question_takes_its_connection_along(valkey: Any, server: Redis) -> None:
    """As when a run is told to end: the next answer is that of the next question."""
    server.mset({key: key for key in KEYS})
    async with Relay(valkey.port) as relay, lookups(f"redis://127.0.0.1:{relay.port}") as store:
        await store.get_many(["k:0"])
        for number in range(1, 20):
            relay.delay_s = 0.02
            task = asyncio.create_task(store.get_many([KEYS[number]]))
            await asyncio.sleep(0.002 * (number % 5))
            task.cancel()
            assert isinstance(
                (await asyncio.gather(task, return_exceptions=True))[0], BaseException
            )
            relay.delay_s = 0.0
            assert await store.get_many([KEYS[-number]]) == [KEYS[-number].encode()]


async def test_a_deadline_is_not_missed_by_a_loop_that_was_busy(valkey: Any, server: Redis) -> None:
    """The answer lay there; nobody looked."""
    server.set("a", "1")
    loop = asyncio.get_running_loop()
    async with lookups(valkey.url, timeout_ms=20) as store:
        await store.get_many(["a"])
        for _ in range(5):
            loop.call_later(0.0005, time.sleep, 0.1)
            assert await store.get_many(["a"]) == [b"1"]


@pytest.mark.parametrize("how", ["killed", "hung"])
async def test_the_breaker(valkey: Any, server: Redis, how: str) -> None:
    """A few failures, and nobody waits any more; back by itself once the server is."""
    server.set("a", "1")
    async with lookups(valkey.url) as store:
        (one,) = store.servers
        assert await store.get_many(["a"]) == [b"1"]
        valkey.kill() if how == "killed" else valkey.pause()
        for _ in range(FAILURES):
            assert one.breaker.reason is None
            assert are_unavailable(await store.get_many(["a"]))
        assert one.breaker.reason is not None
        trips = one.failures
        begin = time.monotonic()
        for _ in range(200):
            assert are_unavailable(await store.get_many(KEYS))
        assert time.monotonic() - begin < 200 * 0.05 / 2
        assert one.failures == trips  # it was not even asked
        valkey.start() if how == "killed" else valkey.resume()
        await until(lambda: store.get_many(["a"]) if not one.breaker.reason else False)
        assert await store.get_many(["a"]) == [b"1"]


async def test_who_answers_probes_alone_is_soon_left_alone_again(
    valkey: Any, server: Redis
) -> None:
    """One failure after a probe is enough, and the pauses grow."""
    server.acl_setuser(
        "probed", enabled=True, passwords=["+s3cret"], categories=["+@connection"], keys=["*"]
    )
    url = valkey.url.replace("//", "//probed:s3cret@")
    async with lookups(url) as store:
        (one,) = store.servers
        for _ in range(FAILURES):
            assert are_unavailable(await store.get_many(["a"]), "NoPermissionError")
        assert one.breaker.reason
        await until(lambda: not one.breaker.reason)
        assert are_unavailable(await store.get_many(["a"]), "NoPermissionError")
        assert one.breaker.reason
        server.acl_setuser("probed", categories=["+@read"])
        await until(lambda: not one.breaker.reason)
        assert await store.get_many(["a"]) == [None]


async def test_who_may_not_be_probed_is_asked_again_all_the_same(
    valkey: Any, server: Redis
) -> None:
    """A user that may do nothing but look up."""
    user: dict[str, Any] = {"passwords": ["+s3cret"], "commands": ["+mget"], "keys": ["*"]}
    server.acl_setuser("strict", enabled=True, **user)
    async with lookups(valkey.url.replace("//", "//strict:s3cret@")) as store:
        (one,) = store.servers
        assert await store.get_many(["a"]) == [None]
        valkey.kill()
        for _ in range(FAILURES):
            assert are_unavailable(await store.get_many(["a"]))
        valkey.start()  # users are not kept
        server.acl_setuser("strict", enabled=True, **user)
        await until(lambda: not one.breaker.reason)
        assert await store.get_many(["a"]) == [None]


async def test_the_first_answer_may_take_as_long_as_connecting(valkey: Any, server: Redis) -> None:
    """A server that is far away is not taken for one that is away; later every answer has its deadline."""
    server.set("a", "1")
    async with Relay(valkey.port) as relay, lookups(f"redis://127.0.0.1:{relay.port}") as store:
        relay.delay_s = 0.15
        assert await store.get_many(["a"]) == [b"1"]
        assert are_unavailable(await store.get_many(["a"]), "no answer within 50 ms")


async def test_away_from_the_start() -> None:
    """Unavailable, with a reason that repeats no password."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    async with lookups(f"redis://:s3cret@127.0.0.1:{port}/0") as store:
        for _ in range(2 * FAILURES):
            answers = await store.get_many(["a", "b"])
            assert are_unavailable(answers, "ConnectionError; check connections.redis")
            assert "s3cret" not in str(answers)


async def test_the_end_closes_every_connection(valkey: Any, server: Redis) -> None:
    """Also while a probe is under way."""
    before = server.info("clients")["connected_clients"]  # type: ignore[index]
    async with lookups(valkey.url) as store:
        await asyncio.gather(*(store.get_many(["a"]) for _ in range(5)))
        assert server.info("clients")["connected_clients"] > before  # type: ignore[index]
    await until(lambda: server.info("clients")["connected_clients"] == before)  # type: ignore[index]
    async with lookups(valkey.url) as store:
        valkey.pause()
        await asyncio.gather(*(store.get_many(["a"]) for _ in range(5)))
        assert store.servers[0].breaker.reason
    valkey.resume()
    await until(lambda: server.info("clients")["connected_clients"] == before)  # type: ignore[index]


BUSY = "local till = os.clock() + ARGV[1] while os.clock() < till do end return 1"


async def test_scripts_may_take_longer_than_look_ups(server: Redis, valkey: Any) -> None:
    """Many of them, one of which takes 200 ms: they are not given up and run again."""
    scripts = {key: ("EVAL", BUSY, "1", key, "0") for key in KEYS}
    scripts[KEYS[0]] = ("EVAL", BUSY, "1", KEYS[0], "0.2")
    async with lookups(valkey.url, timeout_ms=50) as store:
        await store.get_many(KEYS[:1])  # the first answer may take longer anyway
        assert await store.run_each(scripts, 0) == dict.fromkeys(KEYS, 1)
    stats: Any = server.info("commandstats")
    assert stats["cmdstat_eval"]["calls"] == len(KEYS)
