"""What tells matches apart: filled in by the plan, as it would be of the document read back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from enricher.alerts.marks import marks_of
from enricher.build import build
from enricher.config import PipelineConfig, load
from enricher.generator import generate, hostile
from enricher.model import Document, Record
from tests.alerts.recorder import Recorder
from tests.alerts.telling import HOOK, QUICK, Telling, until

PIPELINE = """
name: p
allow_python: true
stages:
  - json: {}
  - timestamp: {field: timestamp, timezone: Asia/Kolkata}
  - set: {fields: {added: {of: "{service}/{level}", list: ["{amount}"]}}}
  - translate: {field: level, target: weight, table: {ERROR: 3.5, INFO: true}, default: [1]}
routes: [{console: {}}]
alerts:
  - name: All
    when: "true"
    summary: s
    fingerprint: "{amount:.1f}/{user_id}/{error}"
    alertmanager:
      labels: {w: "{weight}", of: "{added.of}", list: "{added.list}", y: "{@timestamp:%Y}", x: y}
      low_cardinality: ["@timestamp"]
  - {name: Bare, when: amount > 1000, summary: s}
"""


def documents(config: PipelineConfig, values: Sequence[bytes]) -> list[Document]:
    """Enrich records, by the fast way where they fit."""
    records = [Record(value, f"id-{n}", 0, "t/0", n) for n, value in enumerate(values)]
    outcomes = asyncio.run(build(config).process(records))
    return [one for one in outcomes if type(one) is Document]


def test_the_plan_fills_in_what_the_document_would(tmp_path: Path) -> None:
    """Whatever the events hold, by either way through the plan."""
    (tmp_path / "p.yaml").write_text(PIPELINE)
    config = load(tmp_path / "p.yaml", {})
    of = {alert.name: marks_of(alert, {}) for alert in config.pipeline.alerts}
    found = documents(config, [*(one.value for one in generate(500)), *map(_value, hostile(500))])
    assert len(found) > 700
    for document in found:
        event = orjson.loads(document.body)
        for alert in document.alerts:
            assert alert.fingerprint == of[alert.name].fingerprint(event)
            assert alert.labels == tuple([label(event) for label in of[alert.name].labels])
    assert {len(document.alerts) for document in found} == {1, 2}


def _value(record: object) -> bytes:
    return record.value  # type: ignore[attr-defined, no-any-return]


def test_a_stage_of_the_users_may_write_what_is_no_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A date is in a label as it is in the document."""
    code = "import datetime\ndef f(event):\n    event['weight'] = datetime.date(2025, 10, 20)\n"
    (tmp_path / "own_marks_x.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    stage = '  - python: {function: "own_marks_x:f"}\nroutes:'
    (tmp_path / "p.yaml").write_text(PIPELINE.replace("routes:", stage))
    (document,) = documents(load(tmp_path / "p.yaml", {}), [b'{"a": 1}'])
    assert document.alerts[0].labels is not None
    assert document.alerts[0].labels[0] == "2025-10-20"


async def test_what_speaks_of_the_document_is_read_off_it(tmp_path: Path) -> None:
    """`{_index}` is nothing that a plan knows when an alert matches."""
    file = tmp_path / "p.yaml"
    file.write_text(PIPELINE.replace("{amount:.1f}/{user_id}/{error}", "{_index}"))
    records = [Record(b"{}", "id", 0, "t/0", 0)]
    (document,) = await build(load(file, {})).process(records)
    assert isinstance(document, Document)
    assert (document.alerts[0].fingerprint, document.alerts[0].labels) == (None, None)
    recorder = Recorder()
    alert = {"name": "All", "fingerprint": "{_index}", **QUICK, **HOOK}
    telling = Telling(tmp_path, [alert], {"webhook": recorder})
    async with telling.running():
        telling.alerting.take([document._replace(index=index) for index in "aab"])
        await until(lambda: recorder.digests)
    assert [one.event["_index"] for one in recorder.digests[0].shown] == ["a", "b"]
