"""A file of dead letters that is read, and written anew beside a pipeline that appends to it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from enricher.dead_letters.file import FileQueue
from enricher.dead_letters.letter import to_line
from enricher.dead_letters.queue import Entry, Filter, index
from enricher.model import UserError
from enricher.sinks.dead_letter_file import DeadLetterFile

from .letters import letter


def ids(path: Path) -> list[str]:
    queue = FileQueue(path)
    found = asyncio.run(indexed(queue))
    asyncio.run(queue.close())
    return [entry.id for entry in found]


async def indexed(queue: FileQueue, **chosen: object) -> list[Entry]:
    return (await index(queue, "p", Filter(**chosen))).entries  # type: ignore[arg-type]


def test_letters_are_read_where_the_index_says(tmp_path: Path) -> None:
    """Torn lines and what is no letter are passed over; of each record the last counts."""
    path = tmp_path / "dead.ndjson"
    changed = letter(1, value=b"x" * 100_000)
    lines = [to_line(letter(1)), b'{"torn\n', b"[]\n", to_line(letter(2)), to_line(changed)]
    path.write_bytes(b"".join(lines) + to_line(letter(3))[:-9])

    async def run() -> None:
        queue = FileQueue(path)
        entries = await indexed(queue)
        assert [entry.id for entry in entries] == ["logs-0-1", "logs-0-2"]
        found = [one async for letters in queue.read(entries) for one in letters]
        assert {one.id: one.dead for one in found} == {
            "logs-0-1": changed.dead,
            "logs-0-2": letter(2).dead,
        }
        await queue.close()

    asyncio.run(run())
    assert path.read_bytes().startswith(lines[0]), "reading changes nothing"


def test_removal_keeps_all_others_and_the_owner(tmp_path: Path) -> None:
    """What is no letter stays too; so do the mode, and a link that led here."""
    path = tmp_path / "dead.ndjson"
    path.write_bytes(b"".join(map(to_line, map(letter, range(4)))) + b'{"torn')
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)

    async def run() -> None:
        queue = FileQueue(link)
        await queue.remove(await indexed(queue, ids=frozenset(["logs-0-1", "logs-0-3"])))
        await queue.close()

    asyncio.run(run())
    assert path.read_bytes() == to_line(letter(0)) + to_line(letter(2)) + b'{"torn'
    assert path.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["dead.ndjson", "link"]


def test_newer_letter_of_a_removed_one_stays(tmp_path: Path) -> None:
    """A letter that came after the reading is not hidden by the removal of the one before."""
    path = tmp_path / "dead.ndjson"
    path.write_bytes(to_line(letter(1)) + to_line(letter(2)))
    newer = to_line(letter(1, reason="newer"))

    async def run() -> None:
        queue = FileQueue(path)
        entries = await indexed(queue)
        with path.open("ab") as appended:
            appended.write(newer)
        await queue.remove(entries)
        await queue.close()
        assert queue.kept == 1

    asyncio.run(run())
    assert path.read_bytes() == newer


def test_letter_of_another_pipeline_with_the_same_id_stays(tmp_path: Path) -> None:
    """Two pipelines that read one input and share a file, as `run --local` makes easy."""
    path = tmp_path / "dead.ndjson"
    other = to_line(letter(1, pipeline="other@1"))
    path.write_bytes(other + to_line(letter(1)) + other)

    async def run() -> None:
        queue = FileQueue(path)
        await queue.remove(await indexed(queue))
        await queue.close()

    asyncio.run(run())
    assert path.read_bytes() == other + other


def test_nothing_is_lost_while_a_pipeline_appends(tmp_path: Path) -> None:
    """Rewritten again and again under a sink that writes: each letter is removed or still there."""
    path = tmp_path / "dead.ndjson"
    removed: set[str] = set()

    async def append(sink: DeadLetterFile) -> None:
        for number in range(300):
            await sink.write([letter(number).dead])

    async def rewrite(appending: asyncio.Task[None]) -> None:
        while not appending.done():
            queue = FileQueue(path)
            entries = await indexed(queue)
            await queue.remove(entries)
            await asyncio.to_thread(asyncio.run, queue.close())
            removed.update(entry.id for entry in entries)
            await asyncio.sleep(0.002)

    async def run() -> None:
        sink = DeadLetterFile(path, "p@1")
        await sink.open()
        appending = asyncio.create_task(append(sink))
        await rewrite(appending)
        await appending
        await sink.close()

    asyncio.run(run())
    assert len(removed) > 10
    assert removed | set(ids(path)) == {f"logs-0-{number}" for number in range(300)}


def test_two_commands_at_once_do_not_undo_each_other(tmp_path: Path) -> None:
    """The one that finds the file replaced removes nothing, and says so."""
    path = tmp_path / "dead.ndjson"
    path.write_bytes(to_line(letter(1)) + to_line(letter(2)))

    async def run() -> None:
        first, second = FileQueue(path), FileQueue(path)
        await first.remove(await indexed(first, limit=1))
        await second.remove(await indexed(second))
        await first.close()
        with pytest.raises(UserError, match="run the command again"):
            await second.close()

    asyncio.run(run())
    assert ids(path) == ["logs-0-2"]


def test_failed_rewriting_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or a file of somebody else: said in a word, and nothing is left behind."""
    path = tmp_path / "dead.ndjson"
    path.write_bytes(to_line(letter(1)))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    async def run() -> None:
        queue = FileQueue(path)
        await queue.remove(await indexed(queue))
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="No space left"):
            await queue.close()

    asyncio.run(run())
    assert ids(path) == ["logs-0-1"]
    assert os.listdir(tmp_path) == ["dead.ndjson"]


def test_missing_file_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.ndjson cannot be read"):
        ids(tmp_path / "none.ndjson")
