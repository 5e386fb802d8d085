"""The SQLite file that stands in for Elasticsearch."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from enricher.model import Alert, UserError
from enricher.sinks.store import StoreSink
from enricher.waiting import Backoff

from .documents import document, documents

SOON = Backoff(base_s=0.001, cap_s=0.001)


def with_store(path: Path, work: Callable[[StoreSink], Awaitable[Any]]) -> StoreSink:
    """Open a store, do the work, close it."""

    async def run() -> StoreSink:
        sink = StoreSink(path, backoff=SOON)
        await sink.open()
        try:
            await work(sink)
        finally:
            await sink.close()
        return sink

    return asyncio.run(run())


def select(path: Path, query: str) -> list[Any]:
    """Ask the file what it holds."""
    with sqlite3.connect(path) as database:
        rows = database.execute(query).fetchall()
    database.close()
    return rows


def test_documents_can_be_queried(tmp_path: Path) -> None:
    """What was written is found with SQLite's JSON functions."""
    path = tmp_path / "new folder" / "logs.db"
    with_store(path, lambda sink: sink.write(documents(3)))
    query = """SELECT "index", json_extract(document, '$.n') FROM documents ORDER BY 2"""
    assert select(path, query) == [("logs-2024.11.21", n) for n in range(3)]


def test_replay_changes_nothing(tmp_path: Path) -> None:
    """A document under its own id is written once; the conflict is counted as success."""
    path = tmp_path / "logs.db"

    async def work(sink: StoreSink) -> None:
        assert await sink.write([document(1, b'{"n":1}')]) == []
        assert await sink.write([document(1, b'{"n":2}'), document(2)]) == []

    sink = with_store(path, work)
    assert (sink.conflicts, sink.superseded) == (1, 0)
    assert select(path, "SELECT document FROM documents WHERE id LIKE 'logs-0-1-%'") == [
        ('{"n":1}',)
    ]


@pytest.mark.parametrize(
    ("versions", "kept", "superseded"),
    [([5, 6], 6, 0), ([6, 5], 6, 1), ([5, 5], 5, 0), ([5, 7, 6], 7, 1)],
)
@pytest.mark.parametrize("together", [False, True])
def test_newest_version_stays(
    tmp_path: Path,
    versions: list[int],
    kept: int,
    superseded: int,
    together: bool,  # noqa: FBT001
) -> None:
    """Of several documents with one id the newest stays, and of equals the last."""
    sent = [
        document(n, b'{"n":%d}' % n, identity="order-1", version=version)
        for n, version in enumerate(versions)
    ]

    async def work(sink: StoreSink) -> None:
        for batch in [sent] if together else [[each] for each in sent]:
            await sink.write(batch)

    sink = with_store(tmp_path / "logs.db", work)
    assert (sink.conflicts, sink.superseded) == (0, superseded)
    last = max(n for n, version in enumerate(versions) if version == kept)
    rows = select(
        tmp_path / "logs.db", "SELECT version, json_extract(document, '$.n') FROM documents"
    )
    assert rows == [(kept, last)]


def test_named_id_replaces_one_that_was_created(tmp_path: Path) -> None:
    """As in Elasticsearch: what was created counts as version 1, and is not created again."""
    created, named = document(1, identity="x"), document(2, b'{"n":2}', identity="x", version=5)
    sink = with_store(tmp_path / "logs.db", lambda sink: sink.write([created, named, created]))
    assert (sink.conflicts, sink.superseded) == (1, 0)
    assert select(tmp_path / "logs.db", "SELECT version, document FROM documents") == [
        (5, '{"n":2}')
    ]


def test_same_id_in_two_indices_is_two_documents(tmp_path: Path) -> None:
    """An id is unique within its index only."""
    sent = [document(1, index="a"), document(1, index="b")]
    sink = with_store(tmp_path / "logs.db", lambda sink: sink.write(sent))
    assert sink.conflicts == 0
    assert select(tmp_path / "logs.db", "SELECT count(*) FROM documents") == [(2,)]


def test_alerts_are_kept_once(tmp_path: Path) -> None:
    """An alert is a row, and a replay makes no second one."""
    sent = [document(1, alerts=(Alert("Fraud", "risk 90"), Alert("Slow", "3 s")))]

    async def work(sink: StoreSink) -> None:
        await sink.write(sent)
        await sink.write(sent)

    with_store(tmp_path / "logs.db", work)
    rows = select(tmp_path / "logs.db", "SELECT record_id, name, summary FROM alerts ORDER BY name")
    assert rows == [(sent[0].id, "Fraud", "risk 90"), (sent[0].id, "Slow", "3 s")]


def test_writes_at_the_same_time(tmp_path: Path) -> None:
    """Batches may be written at once; each is one transaction."""

    async def work(sink: StoreSink) -> None:
        batches = [[document(10 * batch + n) for n in range(10)] for batch in range(20)]
        await asyncio.gather(*(sink.write(batch) for batch in batches))

    with_store(tmp_path / "logs.db", work)
    assert select(tmp_path / "logs.db", "SELECT count(*) FROM documents") == [(200,)]


def test_failed_batch_leaves_nothing_behind_and_is_written_again(tmp_path: Path) -> None:
    """A file that refuses is waited for; half a batch is never seen."""
    path = tmp_path / "logs.db"

    async def work(sink: StoreSink) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("ALTER TABLE alerts RENAME TO away")
        writing = asyncio.create_task(sink.write([document(1, alerts=(Alert("a", "b"),))]))
        while sink.blocked is None:
            await asyncio.sleep(0.001)
        assert other.execute("SELECT count(*) FROM documents").fetchone() == (0,)
        other.execute("ALTER TABLE away RENAME TO alerts")
        await writing
        other.close()

    sink = with_store(path, work)
    assert sink.retries > 0
    assert sink.blocked is None
    assert select(path, "SELECT count(*) FROM documents") == [(1,)]


def test_file_of_another_kind_is_the_users_mistake(tmp_path: Path) -> None:
    """A file that is no SQLite file is refused in words."""
    path = tmp_path / "logs.db"
    path.write_text("not a database, but long enough to be seen as one of another kind" * 20)
    with pytest.raises(UserError, match=r"connections\.elasticsearch\.store: .*logs\.db"):
        with_store(path, lambda sink: sink.write([]))


def test_written_documents_outlive_a_power_cut(tmp_path: Path) -> None:
    """Each batch is synced (FULL is 2): an acknowledged document is on the disk."""

    async def work(sink: StoreSink) -> None:
        assert sink._database is not None  # noqa: SLF001 - a setting of the connection alone
        assert sink._database.execute("PRAGMA synchronous").fetchone() == (2,)  # noqa: SLF001

    with_store(tmp_path / "logs.db", work)
