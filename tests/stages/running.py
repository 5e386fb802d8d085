"""Run one stage on one event, as a plan does."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import orjson

from enricher.build import build
from enricher.config import load
from enricher.lookups import Lookups
from enricher.model import Document, Outcome, Record
from enricher.plan import Plan


def plan_of(*stages: str, top: str = "", lookups: Lookups | None = None) -> Plan:
    """Build a plan of the stages, given as the items of a YAML list."""
    items = "".join(f"  - {stage}\n" for stage in stages)
    first = "" if stages[0].startswith("json") else "  - json: {}\n"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "p.yaml"
        text = f"name: p\n{top}\nstages:\n{first}{items}routes: [{{elasticsearch: {{index: l}}}}]\n"
        file.write_text(text)
        return build(load(file, {}), lookups)


def outcome_of(plan: Plan, value: object) -> Outcome:
    """Process one record: bytes as they are, anything else as JSON."""
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    return asyncio.run(plan.process([Record(raw, "id", None, "t/0", 0)]))[0]


def event_of(plan: Plan, value: object) -> dict[str, Any]:
    """Give the event that comes of a record."""
    outcome = outcome_of(plan, value)
    assert isinstance(outcome, Document), outcome
    event: dict[str, Any] = orjson.loads(outcome.body)
    return event
