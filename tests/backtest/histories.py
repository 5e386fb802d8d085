"""Small pipelines and histories whose outcome can be told by hand."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from enricher.backtest.backtest import Backtest
from enricher.backtest.history import History
from enricher.backtest.labels import Labels
from enricher.backtest.result import Changed, Result
from enricher.config import PipelineConfig, load
from enricher.lookups import FileLookups

RULES = """\
name: tiny
stages:
  - json: {}
  - timestamp: {field: timestamp, timezone: UTC}
  - score:
      name: risk
      when: kind == "payment"
      target: score
      reasons: why
      rules:
        - {when: amount > 100, add: 10, reason: "large ({amount})"}
        - {when: night, add: 5, reason: at night}
        - {when: country != "India", add: 20, reason: abroad}
      cap: 30
      levels:
        - {at_least: 25, set: {risk_level: high, review: true}}
        - {at_least: 10, set: {risk_level: medium}}
  - drop: {when: kind == "noise"}
routes:
  - when: review
    elasticsearch: {index: "critical-{@timestamp:%Y.%m.%d}"}
  - elasticsearch: {index: "logs-{@timestamp:%Y.%m.%d}"}
alerts:
  - {name: Risky, when: score >= 25, summary: "{id}"}
"""


def payment(number: int, **fields: Any) -> dict[str, Any]:
    """Give a harmless payment, the so many'th second of a day, with other fields on top."""
    stamp = f"2025-10-20T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z"
    usual = {"timestamp": stamp, "id": f"p{number}", "kind": "payment", "amount": 10}
    return {**usual, "country": "India", "night": False, **fields}


HARMLESS = dict[str, Any]()
LARGE = {"amount": 500}
NIGHT = {"night": True}
ABROAD = {"country": "Nepal"}
BAD = {**LARGE, **ABROAD}
WORST = {**LARGE, **ABROAD, **NIGHT}


def config_of(text: str = RULES, name: str = "tiny.yaml") -> PipelineConfig:
    """Check a pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_text(text)
        return load(file, {}, connections={})


def write(file: Path, events: Sequence[object]) -> Path:
    """Write events as lines; bytes as they are."""
    lines = [one if isinstance(one, bytes) else orjson.dumps(one) for one in events]
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return file


def backtest(
    events: Sequence[object],
    text: str = RULES,
    *,
    against: str | None = None,
    frauds: Sequence[str] | None = None,
    lookups: FileLookups | None = None,
) -> tuple[Result, list[Changed], list[dict[str, Any]]]:
    """Run events through rules; gives the result, what would change, and the scored events."""
    labels = None if frauds is None else Labels("id", frozenset(frauds))
    other = config_of(against, "other.yaml") if against else None
    with tempfile.TemporaryDirectory() as folder:
        file = str(write(Path(folder) / "events.ndjson", events))
        one = Backtest(config_of(text), lookups, labels, other)
        history = History([file], label_field="id")
        changed: list[Changed] = []
        scored: list[dict[str, Any]] = []
        with asyncio.Runner() as runner:
            for entries in history.batches(one.config, one.rules.plan):
                changed += runner.run(one.add(entries))
                scored += one.scored(entries)
        return one.result(history, ["events.ndjson"], 2.0), changed, scored
