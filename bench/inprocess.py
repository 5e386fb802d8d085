"""The plan alone: raw bytes in, routed JSON bytes out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from enricher.build import build
from enricher.cli.bench import BATCH, measure
from enricher.cli.generate import user_lines
from enricher.config import load
from enricher.generator import generate
from enricher.lookups import FileLookups, read_lookups
from enricher.model import Record

PIPELINE = Path("pipelines/payments.yaml")


def run(count: int) -> dict[str, Any]:
    """Measure the payments pipeline on the events of one busy minute, as Kafka delivers them."""
    with tempfile.TemporaryDirectory() as folder:
        users = Path(folder, "users.ndjson")
        users.write_bytes(b"".join(user_lines(1)))
        plan = build(load(PIPELINE, connections={}), FileLookups(read_lookups(users)))
    records = [
        Record(e.value, f"{e.topic}-0-{n}-{e.timestamp}", e.timestamp, f"{e.topic}/0", n, e.key)
        for n, e in enumerate(generate(count, days=1))
    ]
    return measure(plan, [records[at : at + BATCH] for at in range(0, count, BATCH)])
