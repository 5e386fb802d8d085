"""What a scrape, readiness and status say of look-ups, on real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis

from enricher.build import build
from enricher.config import load
from enricher.connections import RedisConnection
from enricher.health import Health
from enricher.lookups.breaker import FAILURES
from enricher.lookups.redis import RedisLookups
from enricher.model import Record
from tests.test_metrics import scrape
from tests.test_runtime import Run, until

PIPELINE = """\
name: p
stages:
  - json: {}
  - lookup: {name: user, key: 'u:{u}', target: a}
  - lookup: {name: shop, key: 'u:{s}', target: b, cache_s: 0, on_unavailable: wait}
routes: [{elasticsearch: {index: i}}]
"""


def record(text: str) -> Record:
    return Record(text.encode(), "id", 0, "t/0", 0)


@pytest.fixture
async def health(valkey: Any, tmp_path: Path) -> AsyncIterator[Health]:
    with Redis.from_url(valkey.url) as client:
        client.flushdb()
        client.set("u:1", "{}")
    file = tmp_path / "p.yaml"
    file.write_text(PIPELINE)
    run = Run()
    run.runtime.lookups = RedisLookups(RedisConnection(url=SecretStr(valkey.url)))
    run.runtime.plan = build(load(file, {}), run.runtime.lookups)
    run.runtime.opened = True
    yield Health(run.runtime, run.stopping)
    await run.runtime.lookups.close()


async def test_counted_by_event_and_by_round_trip(valkey: Any, health: Health) -> None:
    server = f"127.0.0.1:{valkey.port}"
    plan: Any = health.runtime.plan
    for _ in range(2):
        await plan.process(
            [record('{"u":1}'), record('{"u":1}'), record('{"u":2,"s":1}'), record("{}")]
        )
    found = scrape(health)
    assert {
        key: value for key, value in found.items() if "lookup" in key[0] or "redis" in key[0]
    } == {
        ("enricher_lookup_events_total", ("cache", "user")): 3,
        ("enricher_lookup_events_total", ("store", "user")): 3,
        ("enricher_lookup_events_total", ("stale", "user")): 0,
        ("enricher_lookup_events_total", ("nobody", "user")): 0,
        ("enricher_lookup_events_total", ("cache", "shop")): 0,
        ("enricher_lookup_events_total", ("store", "shop")): 2,
        ("enricher_lookup_events_total", ("stale", "shop")): 0,
        ("enricher_lookup_events_total", ("nobody", "shop")): 0,
        ("enricher_lookup_waiting", ("user",)): 0,
        ("enricher_lookup_waiting", ("shop",)): 0,
        ("enricher_redis_round_trips_total", (server,)): 3,
        ("enricher_redis_failures_total", (server,)): 0,
        ("enricher_redis_circuit_open", (server,)): 0,
    }
    assert not any(name == "enricher_tls_unverified" for name, _ in found)
    assert health.status()["redis"] == {server: {"away": None, "round_trips": 3, "failures": 0}}


async def test_away_is_seen_and_only_who_waits_is_not_ready(valkey: Any, health: Health) -> None:
    server = f"127.0.0.1:{valkey.port}"
    plan: Any = health.runtime.plan
    await plan.process([record('{"u":1}')])
    valkey.kill()
    for _ in range(FAILURES):
        await plan.process([record('{"u":3}')])
    found = scrape(health)
    assert found["enricher_redis_circuit_open", (server,)] == 1
    assert found["enricher_redis_failures_total", (server,)] == FAILURES
    assert found["enricher_lookup_events_total", ("nobody", "user")] == FAILURES
    assert found["enricher_ready", ()] == 1
    waiting = asyncio.create_task(plan.process([record('{"s":1}')]))
    await until(lambda: bool(health.reasons()))
    assert scrape(health)["enricher_lookup_waiting", ("shop",)] == 1
    (reason,) = health.reasons()
    assert reason.startswith("shop: redis cannot be asked: ConnectionError")
    assert health.status()["lookups"]["shop"]["blocked"] == reason
    assert health.status()["redis"][server]["away"]
    valkey.start()
    await waiting
    assert health.reasons() == []
