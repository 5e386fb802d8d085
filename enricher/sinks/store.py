"""Keep documents in a SQLite file that stands in for Elasticsearch on one machine.

Ask it in SQL: `SELECT json_extract(document, '$.level'), count(*) FROM documents GROUP BY 1`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from enricher.histogram import Histogram
from enricher.model import Document, Output, Rejected, UserError
from enricher.waiting import Backoff, Notice

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    "index" TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER,
    document TEXT NOT NULL,
    PRIMARY KEY ("index", id)
);
CREATE TABLE IF NOT EXISTS alerts (
    record_id TEXT NOT NULL,
    name TEXT NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (record_id, name)
);
"""

# Elasticsearch's `create` and `external_gte` in one: a NULL version compares as unknown, so
# such a document never replaces another. What was created counts as version 1 there.
_WRITE = """
INSERT INTO documents ("index", id, version, document) VALUES (?, ?, ?, ?)
ON CONFLICT ("index", id) DO UPDATE SET version = excluded.version, document = excluded.document
WHERE excluded.version >= coalesce(documents.version, 1)
"""

_ALERT = "INSERT INTO alerts (record_id, name, summary) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


class StoreSink:
    """Writes each batch in one transaction, in a thread, under Elasticsearch's rules for ids.

    `synchronous=FULL`: a document is acknowledged once it is written, so it must outlive a
    power cut; in WAL mode, NORMAL may lose the last transactions then. It costs one fsync a
    batch.
    """

    def __init__(self, path: Path, *, backoff: Backoff | None = None) -> None:
        """Prepare, without touching the file.

        Args:
            path: of the SQLite file; it and its folder are made by `open()`.
            backoff: how long to wait while the file is locked or the disk is full.
        """
        self.retries = 0
        """Batches that were written again."""
        self.conflicts = 0
        """Documents that were there already under their own id: success."""
        self.superseded = 0
        """Documents older than what is stored under the id their route named: success."""
        self.blocked: str | None = None
        """Why nothing can be written at the moment, for readiness."""
        self.latency = Histogram()
        """Of transactions, in seconds."""
        self._path = path
        self._backoff = backoff or Backoff()
        self._notice = Notice()
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file and make its tables.

        Raises:
            UserError: it cannot be opened, or is no SQLite file.
        """
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(
                self._path, timeout=30.0, isolation_level=None, check_same_thread=False
            )
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                f"connections.elasticsearch.store: {self._path} cannot be used: {error}"
            ) from None
        self._database = database

    async def write(self, documents: Sequence[Document | Output]) -> list[Rejected]:
        """Return once every document is durable; nothing is ever rejected.

        A file that is locked or a disk that is full is waited for. Cancelled, it may still
        write what it was given; the ids make that harmless.
        """
        attempt = 0
        kept = [_kept(document) for document in documents]
        while True:
            try:
                with self.latency.time():
                    conflicts, superseded = await asyncio.to_thread(self._write, kept)
            except sqlite3.OperationalError as error:
                self.blocked = f"{self._path} cannot be written ({error}); retrying"
                self._notice.error(self.blocked)
                attempt += 1
                self.retries += 1
                await asyncio.sleep(self._backoff.delay(attempt))
                continue
            self.blocked = None
            self.conflicts += conflicts
            self.superseded += superseded
            return []

    def _write(self, documents: list[Document]) -> tuple[int, int]:
        """Write in one transaction; give the numbers of conflicts and of superseded ones."""
        kept = {True: 0, False: 0}
        with self._lock:
            if self._database is None:
                raise RuntimeError("the store is not open")
            self._database.execute("BEGIN IMMEDIATE")
            try:
                for own, group in groupby(documents, key=lambda each: each.version is None):
                    rows = [
                        (each.index, each.id, each.version, each.body.decode()) for each in group
                    ]
                    kept[own] += len(rows) - self._database.executemany(_WRITE, rows).rowcount
                alerts = [
                    (each.record.id, alert.name, alert.summary)
                    for each in documents
                    for alert in each.alerts
                ]
                self._database.executemany(_ALERT, alerts)
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        return kept[True], kept[False]

    async def close(self) -> None:
        """Close the file, once a write under way has ended."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None


def _kept(document: Document | Output) -> Document:
    """Give what is kept: a message is a document of its topic, a value one of the index `redis`."""
    if isinstance(document, Document):
        return document
    record, to, key, body = document
    if to.topic:
        return Document(record, to.sink, to.topic, document.id, None, body)
    return Document(record, to.sink, to.sink, key, record.timestamp or 0, body)
