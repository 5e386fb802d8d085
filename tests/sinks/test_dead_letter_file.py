"""Dead letters in a file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from enricher.model import DeadLetter, Record, UserError
from enricher.sinks.dead_letter_file import DeadLetterFile
from enricher.waiting import Backoff


def dead(number: int = 0, value: bytes = b"not json", key: bytes | None = None) -> DeadLetter:
    """Make a dead letter of the record with this offset."""
    record = Record(value, f"logs-0-{number}", 1_732_190_400_000, "logs/0", number, key)
    return DeadLetter(record, "json", "JSONDecodeError", "unexpected character: line 1 column 1")


def read(path: Path) -> list[dict[str, Any]]:
    """Give the whole lines of a file."""
    entries = []
    for line in path.read_bytes().splitlines():
        try:
            entries.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
    return entries


def with_file(path: Path, work: Callable[[DeadLetterFile], Awaitable[Any]]) -> DeadLetterFile:
    """Open a file, do the work, close it."""

    async def run() -> DeadLetterFile:
        sink = DeadLetterFile(path, "p@1", backoff=Backoff(base_s=0.001, cap_s=0.001))
        await sink.open()
        try:
            await work(sink)
        finally:
            await sink.close()
        return sink

    return asyncio.run(run())


def test_letter_says_what_where_and_why(tmp_path: Path) -> None:
    """An entry holds the record and the reason, and a time with its zone."""
    path = tmp_path / "new folder" / "dead.jsonl"
    with_file(path, lambda sink: sink.write([dead(7, key=b"k")]))
    (entry,) = read(path)
    assert datetime.fromisoformat(entry.pop("at")).tzinfo is not None
    assert entry == {
        "id": "logs-0-7",
        "stage": "json",
        "error": "JSONDecodeError",
        "reason": "unexpected character: line 1 column 1",
        "pipeline": "p@1",
        "stream": "logs/0",
        "position": 7,
        "timestamp": 1_732_190_400_000,
        "key": "k",
        "value": "not json",
    }


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    """Records may hold personal data."""
    with_file(tmp_path / "dead.jsonl", lambda sink: sink.write([dead()]))
    assert (tmp_path / "dead.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("cut", [1, 2, 20, 100])
def test_torn_last_line_costs_only_itself(tmp_path: Path, cut: int) -> None:
    """After a crash in the middle of a line, what stands before and what follows is read."""
    path = tmp_path / "dead.jsonl"
    with_file(path, lambda sink: sink.write([dead(1), dead(2)]))
    os.truncate(path, path.stat().st_size - cut)
    with_file(path, lambda sink: sink.write([dead(3)]))
    expected = ["logs-0-1", "logs-0-2", "logs-0-3"] if cut == 1 else ["logs-0-1", "logs-0-3"]
    assert [entry["id"] for entry in read(path)] == expected


def test_same_letter_twice_is_fine(tmp_path: Path) -> None:
    """A replay writes a letter again; nothing breaks, and the id tells."""
    path = tmp_path / "dead.jsonl"

    async def work(sink: DeadLetterFile) -> None:
        await sink.write([dead(1)])
        await sink.write([dead(1)])

    with_file(path, work)
    assert [entry["id"] for entry in read(path)] == ["logs-0-1"] * 2


def test_write_at_the_same_time_tears_no_line(tmp_path: Path) -> None:
    """Batches that are written at once stay whole."""
    path = tmp_path / "dead.jsonl"

    async def work(sink: DeadLetterFile) -> None:
        await asyncio.gather(*(sink.write([dead(n), dead(n)]) for n in range(50)))

    with_file(path, work)
    assert len(list(read(path))) == 100


def test_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the file cannot be written nothing is acknowledged, and a torn attempt is ended."""
    path = tmp_path / "dead.jsonl"
    real = os.write
    failures = iter([3, 0, 0])

    def full(file: int, data: bytes) -> int:
        part = next(failures, None)
        if part is None:
            return real(file, data)
        real(file, bytes(data)[:part])
        raise OSError(28, "No space left on device")

    async def work(sink: DeadLetterFile) -> None:
        monkeypatch.setattr(os, "write", full)
        await sink.write([dead(1)])
        await sink.write([dead(2)])

    sink = with_file(path, work)
    assert sink.retries == 3
    assert sink.blocked is None
    assert [entry["id"] for entry in read(path)] == ["logs-0-1", "logs-0-2"]


def test_file_that_cannot_be_opened_is_the_users_mistake(tmp_path: Path) -> None:
    """A folder in the file's place is refused in words."""
    with pytest.raises(UserError, match="cannot be opened"):
        with_file(tmp_path, lambda sink: sink.write([]))


def test_file_that_was_replaced_is_not_written_to_any_more(tmp_path: Path) -> None:
    """Whoever puts another file in its place, or takes it away, loses no letter that follows."""
    path = tmp_path / "dead.jsonl"

    async def work(sink: DeadLetterFile) -> None:
        await sink.write([dead(1)])
        path.rename(tmp_path / "before.jsonl")
        await sink.write([dead(2)])
        (tmp_path / "other.jsonl").write_bytes(path.read_bytes())
        (tmp_path / "other.jsonl").replace(path)
        await sink.write([dead(3)])

    with_file(path, work)
    assert [entry["id"] for entry in read(path)] == ["logs-0-2", "logs-0-3"]


def test_what_another_process_left_torn_is_ended(tmp_path: Path) -> None:
    """One of two that append is killed in the middle of a line: the other's next letter is whole."""
    path = tmp_path / "dead.jsonl"

    async def work(sink: DeadLetterFile) -> None:
        await sink.write([dead(1)])
        with path.open("ab") as other:
            other.write(b'{"id": "torn')
        await sink.write([dead(2)])

    with_file(path, work)
    assert [entry["id"] for entry in read(path)] == ["logs-0-1", "logs-0-2"]


def test_letter_with_texts_that_are_no_unicode_is_kept(tmp_path: Path) -> None:
    """A file's name and a reason may hold lone surrogates; no record may block for that."""
    path = tmp_path / "dead.jsonl"
    record = dead().record._replace(stream="logs/\udcff")
    with_file(path, lambda sink: sink.write([DeadLetter(record, "s", "e", "bad \ud800")]))
    (entry,) = read(path)
    assert entry["reason"] == "bad ?"
