"""The payments pipeline behind an http source, as a process of its own: PORT FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from enricher.budget import Budget
from enricher.build import build
from enricher.cli import logs
from enricher.cli.service import run_to_end
from enricher.config import load
from enricher.lookups import FileLookups, read_lookups
from enricher.model import DeadLetter, DeadLetterSink, Document, Rejected, Sink
from enricher.runtime import Runtime
from enricher.sources.base import Setting
from enricher.sources.http import Http

from .inprocess import PIPELINE


class Nowhere(Sink):
    """Takes documents, and lets go of them: tally and metrics count."""

    async def open(self) -> None:
        """Do nothing."""

    async def write(self, documents: list[Document]) -> list[Rejected]:  # noqa: ARG002 - a sink's
        """Refuse none."""
        return []

    async def close(self) -> None:
        """Do nothing."""


class NoLetters(DeadLetterSink):
    """Takes dead letters, and lets go of them."""

    pipeline = ""

    async def open(self) -> None:
        """Do nothing."""

    async def write(self, letters: list[DeadLetter]) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


def main(port: str, folder: str) -> None:
    """Serve until SIGTERM."""
    logs.configure("json", "warning", None)
    users = read_lookups(Path(folder, "users.ndjson"))
    plan = build(load(PIPELINE, connections={}), FileLookups(users))
    source = Http(listen=f"127.0.0.1:{port}").build(Setting())
    sinks = {"elasticsearch": Nowhere()}
    run_to_end(Runtime(plan, [source], sinks, NoLetters(), Budget(64 << 20)))


if __name__ == "__main__":
    main(*sys.argv[1:])
