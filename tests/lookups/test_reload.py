"""What look-ups know outlasts a reload that leaves them as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from redis import Redis

from enricher.cli import service
from enricher.config import load
from enricher.model import Document, Record
from tests.servers.relay import Relay

PIPELINE = """\
name: p
connections: {{redis: {{url: "redis://127.0.0.1:{port}"}}}}
sources: [file: {{paths: [in.ndjson]}}]
stages:
  - json: {{}}
  - lookup: {{key: "u:{{id}}", target: {target}}}
routes: [console: {{}}]
"""


async def test_answers_are_kept_over_a_reload(valkey: Any, tmp_path: Path) -> None:
    """So they answer while Redis is away; those of a stage that changed are asked anew."""
    with Redis.from_url(valkey.url) as client:
        client.flushdb()
        client.set("u:1", '{"n": 1}')
    file = tmp_path / "p.yaml"
    async with Relay(valkey.port) as relay:
        file.write_text(PIPELINE.format(port=relay.port, target="user"))
        reloader = service.prepare(lambda: load(file, {}), service.Options())
        runtime = reloader.runtime

        async def event() -> Any:
            (outcome,) = await runtime.plan.process([Record(b'{"id": 1}', "id", None, "f", 0)])
            assert isinstance(outcome, Document)
            return orjson.loads(outcome.body)

        assert (await event())["user"] == {"n": 1}
    await reloader.reload()
    assert (await event())["user"] == {"n": 1}
    file.write_text(PIPELINE.format(port=relay.port, target="other"))
    await reloader.reload()
    assert runtime.reloads.ok == 2
    assert "_lookup_failure" in (await event())["tags"]
    await runtime.lookups.close()
