"""State in a real server that forgets its scripts, is killed, answers late, or holds something else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis

from enricher.connections import RedisConnection
from enricher.lookups.redis import RedisLookups
from enricher.model import Unavailable
from enricher.state.asking import Asking
from enricher.state.redis import RedisStates
from enricher.state.script import SLACK_MS
from enricher.state.spec import TOO_LATE, Answer, Measure, Sighting, Spec
from tests.servers.relay import Relay

PATIENCE_S = 30.0
HOUR_US = 3_600_000_000
SPEC = Spec(
    "p:w", (Measure("n", "count", within_us=HOUR_US),), (), 2 * HOUR_US, 1000, outage_us=HOUR_US
)
NOW_US = 1_763_620_000_000_000


@pytest.fixture
def server(valkey: Any) -> Iterator[Redis]:
    with Redis.from_url(valkey.url) as client:
        client.flushdb()
        yield client


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[RedisLookups]:
    made = RedisLookups(RedisConnection(url=SecretStr(url), **options))
    try:
        yield made
    finally:
        await made.close()


def sightings(count: int, keys: int = 1, first: int = 0) -> list[Sighting]:
    numbers = range(first, first + count)
    return [Sighting(f"u{n % keys}", f"e{n}", NOW_US + n, ()) for n in numbers]


def counts(count: int, keys: int = 1, first: int = 0) -> list[Any]:
    return [{"n": n // keys + 1} for n in range(first, first + count)]


async def test_one_round_trip_a_batch_and_one_script_a_key(valkey: Any, server: Redis) -> None:
    """Under keys that begin with our prefix and go, some time after nobody comes any more."""
    async with connected(valkey.url) as lookups:
        states = RedisStates(lookups)
        assert await states.see(SPEC, sightings(1000, keys=50)) == counts(1000, keys=50)
        (one,) = lookups.servers
        before = one.round_trips
        server.config_resetstat()
        assert await states.see(SPEC, sightings(1000, 50, 1000)) == counts(1000, 50, 1000)
        assert one.round_trips == before + 1
        stats: Any = server.info("commandstats")
        assert stats["cmdstat_evalsha"]["calls"] == 50
        assert stats["cmdstat_hset"]["calls"] == 50
        keys = set(server.scan_iter())
        assert keys == {f"enricher:state:p:w:u{n}".encode() for n in range(50)}
        for key in keys:
            left_ms: Any = server.pttl(key)
            assert 3 * 3_600_000 - 30_000 < left_ms <= 3 * 3_600_000 + SLACK_MS


async def test_what_was_seen_is_not_written_again(valkey: Any, server: Redis) -> None:
    async with connected(valkey.url) as lookups:
        states = RedisStates(lookups)
        await states.see(SPEC, sightings(10))
        server.config_resetstat()
        assert await states.see(SPEC, sightings(10)) == counts(10)
        stats: Any = server.info("commandstats")
        assert "cmdstat_set" not in stats


async def test_a_server_that_forgets_its_scripts(valkey: Any, server: Redis) -> None:
    """As each does when it is started anew: it is told again, and remembers its data."""
    async with connected(valkey.url) as lookups:
        states = RedisStates(lookups)
        server.script_flush()
        assert await states.see(SPEC, sightings(4)) == counts(4)
        server.script_flush()
        assert await states.see(SPEC, sightings(4, first=4)) == counts(4, first=4)
        valkey.kill()
        valkey.start()
        asking = Asking(states, SPEC, waits=True)
        assert await asking.see(sightings(4, first=8)) == counts(4, first=8)


async def test_two_that_see_the_same_at_the_same_time(valkey: Any, server: Redis) -> None:
    """As workers may in a rebalance: whoever is first answers for both."""
    async with connected(valkey.url) as one, connected(valkey.url) as other:
        both = await asyncio.gather(
            *(RedisStates(lookups).see(SPEC, sightings(200, 7)) for lookups in (one, other) * 5)
        )
        assert all(answers == counts(200, 7) for answers in both)


@pytest.mark.parametrize("other", ["text", "list", "hash", "number", "old"])
async def test_what_is_not_ours_concerns_its_key_alone(
    valkey: Any, server: Redis, other: str
) -> None:
    """It is a failure that says what to do, and never overwritten; the server is not at fault."""
    key = "enricher:state:p:w:u0"
    if other == "list":
        server.rpush(key, "x")
    elif other == "text":
        server.set(key, b"\xff\xfehello")
    else:
        fields: Any = {"hash": {"a": "b"}, "number": {"=": "5"}, "old": {"=": b"\x92\x01\x01"}}
        server.hset(key, mapping=fields[other])
    before = server.dump(key)
    async with connected(valkey.url) as lookups:
        wrong, fine = await RedisStates(lookups).see(SPEC, sightings(2, keys=2))
        assert isinstance(wrong, str)
        assert wrong.startswith("the stored ")
        assert fine == {"n": 1}
        assert lookups.servers[0].failures == 0
    assert server.dump(key) == before


async def test_a_batch_waits_for_its_server(valkey: Any, server: Redis) -> None:
    """It says so; once the server is back every event is answered, and counted once."""
    async with connected(valkey.url) as lookups:
        asking = Asking(RedisStates(lookups), SPEC, waits=True)
        assert await asking.see(sightings(10)) == counts(10)
        valkey.kill()
        waiting = asyncio.create_task(asking.see(sightings(10, first=10)))
        async with asyncio.timeout(PATIENCE_S):
            while asking.blocked is None:
                await asyncio.sleep(0)
        assert asking.blocked.endswith("records wait, nothing is lost")
        valkey.start()
        async with asyncio.timeout(PATIENCE_S):
            assert await waiting == counts(10, first=10)
        assert asking.blocked is None
        assert asking.counts.answered == 20


async def test_waiting_can_be_ended(valkey: Any, server: Redis) -> None:
    """By whoever stops the run: the batch is not acknowledged, and read again."""
    async with connected(valkey.url) as lookups:
        asking = Asking(RedisStates(lookups), SPEC, waits=True)
        valkey.kill()
        waiting = asyncio.create_task(asking.see(sightings(1)))
        async with asyncio.timeout(PATIENCE_S):
            while asking.blocked is None:
                await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert asking.blocked is None
        valkey.start()


async def test_tagging_does_not_wait(valkey: Any, server: Redis) -> None:
    async with connected(valkey.url) as lookups:
        asking = Asking(RedisStates(lookups), SPEC, waits=False)
        valkey.kill()
        answers = await asking.see(sightings(3))
        assert all(isinstance(one, Unavailable) for one in answers)
        assert asking.counts.nobody == 3
        valkey.start()


async def test_an_answer_that_comes_too_late_was_given_all_the_same(
    valkey: Any, server: Redis
) -> None:
    """The script has run, nobody knows it, and it is sent again until its first answer comes."""
    async with Relay(valkey.port) as relay:
        url = f"redis://127.0.0.1:{relay.port}/0"
        async with connected(url, timeout_ms=50) as lookups:
            states = RedisStates(lookups)
            assert await states.see(SPEC, sightings(5)) == counts(5)
            relay.delay_s = 2.0
            asking = Asking(states, SPEC, waits=True)
            waiting = asyncio.create_task(asking.see(sightings(200, first=5)))
            async with asyncio.timeout(PATIENCE_S):
                while asking.blocked is None:
                    await asyncio.sleep(0)
            relay.delay_s = 0.0
            async with asyncio.timeout(PATIENCE_S):
                assert await waiting == counts(200, first=5)


async def test_what_is_too_much_for_one_deadline_is_asked_in_parts(
    valkey: Any, server: Redis
) -> None:
    """Or it would be sent for ever."""

    class Slow:
        async def see(self, spec: Spec, sightings: Sequence[Sighting]) -> list[Answer]:
            if len(sightings) > 3:
                return [Unavailable("no answer within 50 ms")] * len(sightings)
            return await states.see(spec, sightings)

    async with connected(valkey.url) as lookups:
        states = RedisStates(lookups)
        answers = await Asking(Slow(), SPEC, waits=True).see(sightings(20))
        assert answers == counts(20)


async def test_the_state_of_a_hot_key_is_bounded(valkey: Any, server: Redis) -> None:
    """Its counts end at `max_events`; what comes from before those is refused."""
    spec = SPEC._replace(max_events=100)
    async with connected(valkey.url, timeout_ms=5000) as lookups:
        states = RedisStates(lookups)
        for first in range(0, 3000, 1000):
            answers = await states.see(spec, sightings(1000, first=first))
            wanted = [{"n": min(n, 100)} for n in range(first + 1, first + 1001)]
            assert answers == wanted
            held: Any = server.hgetall("enricher:state:p:w:u0")
            assert sum(name.startswith(b":") for name in held) == 100
            assert sum(map(len, [*held, *held.values()])) < 100 * 60
        assert await states.see(spec, sightings(1, first=2899)) == [TOO_LATE]
        assert await states.see(spec, sightings(1, first=2900)) == [{"n": 100}]
