"""A table that is replaced while the run goes on, and one that is spoilt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from enricher.cli import service
from enricher.config import PipelineConfig, load
from enricher.model import Document, Record

PATIENCE_S = 20.0
PIPELINE = """\
name: p
connections: {elasticsearch: {store: p.db}}
sources: [file: {paths: [in.ndjson]}]
stages:
  - json: {}
  - lookup: {from: file, file: tables/shops.csv, key: "{id}", key_field: id, target: shop}
routes: [elasticsearch: {index: logs}]
"""


class Rig:
    """A run that is not started, and what follows its files."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "p.yaml"
        self.table = folder / "tables" / "shops.csv"
        self.table.parent.mkdir()
        self.table.write_text("id,city\n1,Pune\n")
        self.file.write_text(PIPELINE)
        self.reloader = service.prepare(self.read, service.Options(watch=True))
        self.reloads = self.reloader.runtime.reloads

    def read(self) -> PipelineConfig:
        return load(self.file, {})

    async def shop(self) -> Any:
        record = Record(b'{"id": 1}', "id", None, "f", 0)
        (outcome,) = await self.reloader.runtime.plan.process([record])
        assert isinstance(outcome, Document)
        return orjson.loads(outcome.body).get("shop")

    async def until(self, found: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not found():
                await asyncio.sleep(0.02)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_a_table_is_watched_and_swapped(rig: Rig) -> None:
    """Written in place or renamed into it; one that is spoilt keeps the old rows, and tells its line."""
    following = asyncio.create_task(rig.reloader.follow())
    try:
        assert await rig.shop() == {"id": "1", "city": "Pune"}
        rig.table.write_text("id,city\n1,Agra\n")
        await rig.until(lambda: rig.reloads.ok == 1)
        assert await rig.shop() == {"id": "1", "city": "Agra"}
        rig.table.write_text("id,city\n1,Kochi\n2\n")
        await rig.until(lambda: rig.reloads.failed == 1)
        assert "p.yaml:6:5: stages[1].lookup: " in str(rig.reloads.last_error)
        assert "shops.csv:3: 1 cells, the header has 2 columns" in str(rig.reloads.last_error)
        assert await rig.shop() == {"id": "1", "city": "Agra"}
        new = rig.table.with_suffix(".new")
        new.write_text("id,city\n2,Kochi\n")
        new.rename(rig.table)
        await rig.until(lambda: rig.reloads.ok == 2)
        assert await rig.shop() is None
    finally:
        following.cancel()
