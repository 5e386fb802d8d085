"""Ready, or the reasons why not; and everything at once as JSON."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from enricher import __version__
from enricher.health import Health
from enricher.kafka.assignment import Counts
from enricher.model import Progress

from .test_runtime import Run


async def test_ready_once_the_sinks_are_open_and_until_it_stops() -> None:
    run = Run(endless=True)
    health = Health(run.runtime, run.stopping)
    assert health.reasons() == ["sinks: not connected yet"]
    run.a.opening.clear()
    task = run.start()
    await asyncio.sleep(0.01)
    assert health.reasons() == ["sinks: not connected yet"]
    run.a.opening.set()
    await asyncio.sleep(0.01)
    assert health.reasons() == []
    run.stopping.set()
    assert health.reasons() == ["stopping"]
    assert await task is True


async def test_each_part_says_why_it_is_blocked() -> None:
    """Sinks, dead letters and sources; a reason that several share is given once."""
    run = Run()
    run.runtime.opened = True
    health = Health(run.runtime, run.stopping)
    assert health.reasons() == []
    run.a.blocked = run.b.blocked = "elasticsearch answers 401"
    run.letters.blocked = "the disk is full"
    run.source.blocked = "kafka has no topic x"
    assert health.reasons() == [
        "elasticsearch answers 401",
        "the disk is full",
        "kafka has no topic x",
    ]
    run.a.blocked = run.b.blocked = run.letters.blocked = None
    assert health.reasons() == ["kafka has no topic x"]
    run.source.blocked = None
    assert health.reasons() == []


async def test_status_is_json_and_tells_of_everything() -> None:
    run = Run(["a logs-2025.10.20", "dead", "drop"])
    source: Any = run.source
    source.counts = Counts(commits=3)
    source.progress = lambda: [Progress("t", 0, 120, 30, 1.23456)]
    sink: Any = run.a
    sink.retries = 2
    run.runtime.pipeline, run.runtime.digest = "tiny", "abc"
    run.runtime.reloads.failed, run.runtime.reloads.last_error = 1, "p.yaml:1:1: no"
    assert await run.to_the_end() is True
    run.stopping.set()
    told = orjson.loads(orjson.dumps(Health(run.runtime, run.stopping).status()))
    assert told.pop("uptime_s") >= 0
    assert told.pop("bytes_in_flight_limit") == run.budget.limit
    assert told == {
        "pipeline": "tiny",
        "digest": "abc",
        "version": __version__,
        "ready": False,
        "reasons": ["stopping"],
        "records": {"read": 3, "settled": 3},
        "documents": {"logs-*": 1},
        "dead_letters": {"stage: Bad": 1},
        "dropped": {"drop": 1},
        "alerts": {},
        "outputs": {},
        "alerting": {},
        "bytes_in_flight": 0,
        "deliveries_in_flight": 0,
        "longest_stall_s": 0.0,
        "sources": {
            "source": {
                "blocked": None,
                "partitions": {"t/0": {"watermark": 120, "lag": 30, "age_s": 1.235}},
                "commits": 3,
                "failed_commits": 0,
                "out_of_range": 0,
            }
        },
        "sinks": {
            "a": {"blocked": None, "retries": 2},
            "b": {"blocked": None},
            "dead_letters": {"blocked": None},
        },
        "lookups": {},
        "windows": {},
        "redis": {},
        "reloads": {"ok": 0, "failed": 1, "last_time": None, "last_error": "p.yaml:1:1: no"},
    }
