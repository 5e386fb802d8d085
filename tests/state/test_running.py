"""Windows in a run: over a reload, and as those see them who watch."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
from redis import Redis

from enricher.build import build
from enricher.cli import service
from enricher.config import load
from enricher.health import Health
from enricher.model import Document, Record
from tests.test_metrics import scrape

PIPELINE = """\
name: p
connections: {connections}
sources: [file: {{paths: [in.ndjson]}}]
stages:
  - json: {{}}
  - timestamp: {{}}
  - window: {{key: "{{u}}", retention: 2h, fields: {{{fields}}}}}
routes: [console: {{}}]
"""
COUNT = "n: {count: true, within: 1h}"
PATIENCE_S = 30.0


def record(number: int, hour: int = 10) -> Record:
    time = f"2025-10-20T{hour}:00:{number:02}Z"
    value = orjson.dumps({"timestamp": time, "u": 1, "a": number})
    return Record(value, f"t-0-{number}", None, "t/0", number)


async def event(plan: Any, *of: int) -> dict[str, Any]:
    (outcome,) = await plan.process([record(*of)])
    assert isinstance(outcome, Document)
    found: dict[str, Any] = orjson.loads(outcome.body)
    return found


async def test_state_outlasts_a_reload(tmp_path: Path) -> None:
    """Without Redis too; a field that is new begins with what is known of the events before."""
    file = tmp_path / "p.yaml"
    file.write_text(PIPELINE.format(connections="{}", fields=COUNT))
    reloader = service.prepare(lambda: load(file, {}), service.Options())
    assert (await event(reloader.runtime.plan, 1))["n"] == 1
    file.write_text(PIPELINE.format(connections="{}", fields=f"{COUNT}, s: {{sum: a}}"))
    await reloader.reload()
    assert reloader.runtime.reloads.ok == 1
    found = await event(reloader.runtime.plan, 2)
    assert (found["n"], found["s"]) == (2, 2)


async def test_who_watches_sees_it(valkey: Any, tmp_path: Path) -> None:
    """What was answered, what came too late, and that records wait for a server that is away."""
    with Redis.from_url(valkey.url) as client:
        client.flushdb()
    file = tmp_path / "p.yaml"
    connections = f'{{redis: {{url: "{valkey.url}"}}}}'
    file.write_text(PIPELINE.format(connections=connections, fields=COUNT))
    runtime = service.prepare(lambda: load(file, {}), service.Options()).runtime
    runtime.opened = True
    health = Health(runtime, asyncio.Event())
    assert (await event(runtime.plan, 1, 15))["n"] == 1
    assert "_window_failure" in (await event(runtime.plan, 2, 10))["tags"]
    found = scrape(health)
    assert {
        key[1]: value for key, value in found.items() if key[0].endswith("window_events_total")
    } == {
        ("answered", "window"): 1,
        ("late", "window"): 1,
        ("nobody", "window"): 0,
    }
    valkey.kill()
    waiting = asyncio.create_task(event(runtime.plan, 3, 15))
    async with asyncio.timeout(PATIENCE_S):
        while not health.reasons():
            await asyncio.sleep(0)
    assert health.reasons()[0].startswith("p:window: redis cannot be asked")
    assert scrape(health)["enricher_window_waiting", ("window",)] == 1
    assert health.status()["windows"]["window"]["blocked"]
    valkey.start()
    async with asyncio.timeout(PATIENCE_S):
        assert (await waiting)["n"] == 2
    assert health.reasons() == []
    await runtime.lookups.close()


async def test_an_unfit_event_takes_its_turn(tmp_path: Path) -> None:
    """One that brings what the plan adds counts for those after it, as all others do."""
    file = tmp_path / "p.yaml"
    file.write_text(PIPELINE.format(connections="{}", fields=COUNT))
    plan = build(load(file))
    await plan.process([record(0)])
    records = [record(number) for number in range(1, 8)]
    for at in (2, 3, 6):
        brought = orjson.loads(records[at].value) | {"n": 99, "tags": []}
        records[at] = records[at]._replace(value=orjson.dumps(brought))
    outcomes = await plan.process(records)
    counts = [orjson.loads(one.body)["n"] for one in outcomes if isinstance(one, Document)]
    assert counts == [2, 3, 4, 5, 6, 7, 8]
