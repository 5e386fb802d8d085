"""Hostile values where a pipeline writes a template: they have no effect beyond their field.

The name of an index and an id are held here, through a whole plan and into the bytes of `_bulk`;
`integration/test_hostile_values.py` does so on real servers, with keys of Redis besides.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.build import build
from enricher.config import load
from enricher.model import DeadLetter, Record
from enricher.plan import Plan
from enricher.routes import MAX_ID_BYTES
from enricher.sinks.bulk import encode, screen
from tests.hostile_values import values

ROUTES = """routes:
  - {when: way == "named", elasticsearch: {index: "logs-{place}", allowed: {place: [ok, fine]}, id: "{id}"}}
  - {when: way == "mixed", elasticsearch: {index: "mixed-{time:%Y.%m.%d}", id: "{id}-{place}"}}
  - {elasticsearch: {index: "rest-{time:%Y.%m}"}}
"""
NOON = 1_761_040_800_000
INDEX = re.compile(
    r"logs-(?:ok|fine)|mixed-(?:2025\.10\.(?:1[0-9]|2[0-9])|outofrange)|rest-(?:2025\.10|outofrange)"
)
WAYS = ["named", "mixed", "rest"]
CLEAN = {"way": "named", "place": "ok", "id": "clean", "time": "2025-10-21T10:00:00Z"}


PIPELINE = f"""\
name: p
window: {{past_days: 10, future_days: 1}}
stages:
  - json: {{}}
  - set: {{fields: {{text: "{{id}} of {{place}}"}}}}
{ROUTES}
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    file = tmp_path_factory.mktemp("p") / "p.yaml"
    file.write_text(PIPELINE)
    return build(load(file, {}))


def outcomes(plan: Plan, *events: dict[str, Any]) -> list[Any]:
    records = [
        Record(orjson.dumps(event), f"id-{n}", NOON, "t/0", n) for n, event in enumerate(events)
    ]
    return asyncio.run(plan.process(records))


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(WAYS), values, values, values)
def test_index_and_id_are_bounded(plan: Plan, way: str, place: Any, name: Any, time: Any) -> None:
    """One action and one document each, in an index of the file's; the neighbours are the same."""
    event = {"way": way, "place": place, "id": name, "time": time}
    first, hostile, last = outcomes(plan, CLEAN, event, {**CLEAN, "id": "last"})
    assert not any(isinstance(one, DeadLetter) for one in (first, hostile, last))
    alone = outcomes(plan, CLEAN)[0]
    assert first == alone

    assert INDEX.fullmatch(hostile.index)
    assert 0 < len(hostile.id.encode()) <= MAX_ID_BYTES
    if hostile.version is None:
        assert hostile.id == "id-1"
    else:
        assert hostile.id == (name if way == "named" else f"{as_text_of(name)}-{as_text_of(place)}")
    sound, refused = screen([first, hostile, last])
    assert not refused
    lines = encode(sound).body.split(b"\n")
    assert len(lines) == 7
    actions = [orjson.loads(line) for line in lines[:6:2]]
    for action, document in zip(actions, [first, hostile, last], strict=True):
        ((kind, meta),) = action.items()
        assert kind == ("create" if document.version is None else "index")
        assert (meta["_index"], meta["_id"]) == (document.index, document.id)
        assert set(meta) <= {"_index", "_id", "version", "version_type"}
    body = orjson.loads(lines[3])
    assert {key: body[key] for key in event} == orjson.loads(orjson.dumps(event))
    assert set(body) <= {*event, "text", "tags", "failures"}


def as_text_of(value: Any) -> str:
    """Write a value as a template does."""
    if type(value) is str:
        return value
    if value is None or type(value) is bool:
        return {None: "", True: "true", False: "false"}[value]
    return str(value) if type(value) in (int, float) else orjson.dumps(value).decode()
