"""`enricher run` with a source of Beats, as a process of its own."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from tests.cli.program import Daemon

STORE = "enricher.db"


def pipeline_of(folder: Path, **fields: Any) -> Path:
    """Write a small pipeline; the fields are those of its source."""
    file = folder / "beats.yaml"
    file.write_text(
        json.dumps(
            {
                "name": "beats",
                "sources": [{"beats": {"listen": "127.0.0.1:0", **fields}}],
                "stages": [{"json": {"envelope": "message"}}],
                "routes": [{"elasticsearch": {"index": "logs"}}],
            }
        )
    )
    return file


class BeatsDaemon(Daemon):
    """Listens for Beats, and writes to a SQLite file in its folder.

    Args:
        pipeline: Its file.
        folder: Where its store and its log go.
        options: Further ones of the command line.
        environment: Further variables.
    """

    def __init__(
        self,
        pipeline: Path,
        folder: Path,
        *options: object,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        settings = ("--local", "--store", STORE, "--log-format", "json", *options)
        super().__init__("run", pipeline, *settings, folder=folder, environment=environment)
        self.wait_for('"event": "listening"')
        found = re.search(r'"address": "[^"]*?:(\d+)"[^\n]*"event": "listening"', self.text)
        assert found is not None, self.text
        self.port = int(found[1])

    def documents(self) -> dict[str, Any]:
        """Read every document by its id."""
        with closing(sqlite3.connect(self.folder / STORE)) as store:
            rows = store.execute("select id, document from documents").fetchall()
        return {identity: json.loads(document) for identity, document in rows}

    def resident_bytes(self) -> int:
        """Measure the memory that it holds."""
        return int(psutil.Process(self.process.pid).memory_info().rss)
