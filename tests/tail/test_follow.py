"""Followed files: every line once, through growth, rotation and restarts."""

from __future__ import annotations

import asyncio
import gzip
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from enricher.lines import read_records
from enricher.model import UserError
from enricher.tail import tracked

from .rig import following

LINE = st.binary(max_size=60).map(lambda line: line.replace(b"\n", b""))


def append(path: Path, data: bytes) -> Path:
    with path.open("ab") as file:
        file.write(data)
    return path


async def test_lines_come_as_they_are_written_with_the_ids_of_the_whole_file(
    tmp_path: Path,
) -> None:
    """A line waits for its newline; blank ones are none; the ids are those of reading it once."""
    path = append(tmp_path / "a.log", b"one\n\r\ntw")
    async with following(tmp_path) as found:
        await found.has(b"one")
        append(path, b"o\r\n  \nthree")
        await found.has(b"one", b"two")
        append(path, b"\n")
        await found.has(b"one", b"two", b"three")
    once = [record for batch in read_records(str(path)) for record in batch]
    assert found.records == once


@given(
    written=st.lists(LINE, max_size=40),
    cuts=st.lists(st.integers(0, 2000), max_size=5),
    chunk=st.integers(1, 80),
    longest=st.integers(1, 70),
)
@settings(deadline=None, max_examples=60)
def test_any_bytes_written_and_read_in_any_pieces(
    tmp_path_factory: pytest.TempPathFactory,
    written: list[bytes],
    cuts: list[int],
    chunk: int,
    longest: int,
) -> None:
    """The records are the file's lines, whatever is in them and however they come."""
    data = b"x\n" + b"".join(line + b"\n" for line in written)
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    folder = tmp_path_factory.mktemp("any")
    path = folder / "a.log"

    async def run() -> list[Any]:
        async with following(folder, max_record_bytes=longest) as found:
            for begin, end in zip([0, *ends], ends, strict=False):
                append(path, data[begin:end])
                await found.looked()
            await found.until(lambda: found.source.lags().get(str(path)) == 0)
        return found.records

    with pytest.MonkeyPatch.context() as patch:
        for module in ("lines", "tail.reading"):
            patch.setattr(f"enricher.{module}.CHUNK", chunk)
        records = asyncio.run(run())
    offset, expected = 0, []
    for line in data.split(b"\n"):
        value = line[: longest + 2].removesuffix(b"\r")[: longest + 1]
        whole = line.removesuffix(b"\r")
        value = whole if len(whole) <= longest else value
        if value.strip():
            expected.append((offset, value))
        offset += len(line) + 1
    assert [(record.position, record.value) for record in records] == expected
    assert len({record.id for record in records}) == len(records)


async def test_a_restart_reads_what_was_not_settled_and_nothing_else(tmp_path: Path) -> None:
    """The watermark counts: what is settled before something that is not is read again."""
    path = append(tmp_path / "a.log", b"one\n")
    async with following(tmp_path, settles=False) as found:
        await found.has(b"one")
        append(path, b"two\n")
        await found.has(b"one", b"two")
        await found.deliveries[1].acknowledge()
    async with following(tmp_path, settles=False) as again:
        await again.has(b"one", b"two")
        assert [record.id for record in again.records] == [record.id for record in found.records]
        await again.deliveries[0].acknowledge()
    append(path, b"three\n")
    async with following(tmp_path) as last:
        await last.has(b"three")


async def test_what_is_settled_outlasts_a_crash_soon(tmp_path: Path) -> None:
    """Without `close()`: the state is written meanwhile, and once more when it is asked for."""
    append(tmp_path / "a.log", b"one\ntwo\n")
    async with following(tmp_path, settles=False) as found:
        await found.has(b"one", b"two")
        assert await found.source.commit()
        assert b'"position":0' in (tmp_path / "state").read_bytes()
        await found.deliveries[0].acknowledge()
        await found.until(lambda: b'"position":8' in (tmp_path / "state").read_bytes())


async def test_a_renamed_file_is_read_to_its_end_and_let_go(tmp_path: Path) -> None:
    """Its writer may go on for a while; its last line needs no newline once it is let go."""
    path = append(tmp_path / "a.log", b"one\n")
    async with following(tmp_path, let_go_s=0.2) as found:
        await found.has(b"one")
        old = path.rename(tmp_path / "a.log.1")
        append(old, b"two\nthr")
        append(path, b"new\n")
        await found.until(lambda: len(found.values) == 4)
        assert sorted(found.values) == [b"new", b"one", b"thr", b"two"]
        assert sorted(found.values[1:3]) == [b"new", b"two"]
        await found.until(lambda: found.source.counts.followed == 1)
        await found.until(lambda: (tmp_path / "state").read_text().count("inode") == 1)
        append(old, b"ee\n")
        await found.looked()
    assert len(found.values) == 4
    assert found.source.counts.vanished == 0


async def test_a_rename_while_nobody_looks_is_followed(tmp_path: Path) -> None:
    """After a restart the file is found beside where it was, though no path matches it."""
    path = append(tmp_path / "a.log", b"one\n")
    async with following(tmp_path) as found:
        await found.has(b"one")
    append(path, b"two\n").rename(tmp_path / "a.log-20251020")
    append(path, b"three\n")
    async with following(tmp_path) as again:
        await again.until(lambda: len(again.values) == 2)
        assert sorted(again.values) == [b"three", b"two"]
        own = [record.id.rsplit("-", 1)[0] for record in again.records]
        assert found.records[0].id.rsplit("-", 1)[0] in own


@pytest.mark.parametrize(
    "after", [b"other\n", b"first\nagain\n", b"first\nmuch longer than it was\n"]
)
async def test_a_file_that_is_truncated_begins_anew(tmp_path: Path, after: bytes) -> None:
    """Shorter, or with another first line; nothing of it is taken for what was there before."""
    path = append(tmp_path / "a.log", b"first\nsecond\nthird\n")
    async with following(tmp_path) as found:
        await found.has(b"first", b"second", b"third")
        path.write_bytes(b"")
        await found.until(lambda: found.source.counts.truncated == 1)
        append(path, after)
        await found.has(b"first", b"second", b"third", *after.splitlines())
    assert len({record.id for record in found.records}) == len(found.records)
    append(path, b"last\n")
    async with following(tmp_path) as again:
        await again.has(b"last")
    assert again.records[0].id.rsplit("-", 1)[0] == found.records[-1].id.rsplit("-", 1)[0]


async def test_a_truncation_between_two_looks_is_seen_by_the_first_line(tmp_path: Path) -> None:
    path = append(tmp_path / "a.log", b"first\nsecond\n")
    async with following(tmp_path) as found:
        await found.has(b"first", b"second")
    path.write_bytes(b"other\nthat is longer than all that was there\n")
    async with following(tmp_path) as again:
        await again.has(b"other", b"that is longer than all that was there")


async def test_a_turn_is_kept_before_anything_of_it_goes_on(tmp_path: Path) -> None:
    """Or a crash would give the same records other ids."""
    path = append(tmp_path / "a.log", b"first\nsecond\n")
    async with following(tmp_path) as found:
        await found.has(b"first", b"second")
        path.write_bytes(b"first\n")
        await found.has(b"first", b"second", b"first")
        assert b'"turn":1' in (tmp_path / "state").read_bytes()


async def test_another_file_with_the_same_inode_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File systems give inodes again; the first line tells."""
    path = append(tmp_path / "a.log", b"one\ntwo\n")
    async with following(tmp_path) as found:
        await found.has(b"one", b"two")
    path.unlink()
    append(tmp_path / "b.log", b"uno\ndue\ntre\n")
    same = tracked.key_of((tmp_path / "b.log").stat())
    state = (tmp_path / "state").read_text()
    before = found.source._follower.files
    monkeypatch.undo()
    if same not in before:  # this file system did not: say that it did
        (inode,) = {key[1] for key in before}
        (tmp_path / "state").write_text(state.replace(f'"inode":{inode}', f'"inode":{same[1]}'))
    async with following(tmp_path) as again:
        await again.has(b"uno", b"due", b"tre")
    assert not {record.id for record in found.records} & {record.id for record in again.records}


async def test_two_files_with_the_same_first_line_are_two(tmp_path: Path) -> None:
    for name in ("a", "b"):
        append(tmp_path / f"{name}.log", b"header\n" + name.encode() + b"\n")
    async with following(tmp_path) as found:
        await found.until(lambda: len(found.values) == 4)
    assert sorted(found.values) == [b"a", b"b", b"header", b"header"]
    assert len({record.id for record in found.records}) == 4


async def test_links_are_followed_and_a_file_is_read_once_however_many_lead_to_it(
    tmp_path: Path,
) -> None:
    """A link that is swapped leads to another file; the former is read to its end where it is."""
    pods = tmp_path / "pods"
    pods.mkdir()
    first, second = append(pods / "0.txt", b"one\n"), append(pods / "1.txt", b"three\n")
    for name in ("a", "b"):
        (tmp_path / f"{name}.log").symlink_to(first)
    async with following(tmp_path, max_open_files=1) as found:
        await found.has(b"one")
        assert found.source.counts.followed == 1
        append(first, b"two\n")
        for name in ("a", "b"):
            (tmp_path / "next").symlink_to(second)
            (tmp_path / "next").replace(tmp_path / f"{name}.log")
        await found.until(lambda: len(found.values) == 3)
    assert sorted(found.values) == [b"one", b"three", b"two"]


async def test_a_huge_line_is_cut_and_costs_no_memory(tmp_path: Path) -> None:
    path = append(tmp_path / "a.log", b"a\n" + b"x" * (8 << 20))
    async with following(tmp_path, max_record_bytes=1000) as found:
        await found.has(b"a")
        append(path, b"x" * (8 << 20) + b"\nb\n")
        await found.has(b"a", b"x" * 1001, b"b")
    async with following(tmp_path) as again:
        append(path, b"c\n")
        await again.has(b"c")


async def test_a_thousand_files_need_few_descriptors(tmp_path: Path) -> None:
    """All of them are read, again and again, a few open at a time."""
    paths = [tmp_path / f"{number}.log" for number in range(1000)]
    expected: set[bytes] = set()
    async with following(tmp_path, max_open_files=8) as found:
        before = len(os.listdir("/proc/self/fd"))
        for turn in range(2):
            for number, path in enumerate(paths):
                append(path, line := b"%d of %d\n" % (turn, number))
                expected.add(line[:-1])
            await found.until(lambda: len(found.values) == len(expected))
            assert set(found.values) == expected
            assert len(os.listdir("/proc/self/fd")) - before <= 8 + 4
        assert found.source.counts.open_files <= 8
        assert len(found.source.lags()) == 101
        assert max(len(one.records) for one in found.deliveries) > 100, "files are read together"


async def test_compressed_files_are_left_alone(tmp_path: Path) -> None:
    """By their name; one that is matched all the same is told of, and not read as lines."""
    (tmp_path / "a.log.gz").write_bytes(gzip.compress(b"packed\n"))
    (tmp_path / "b.log").write_bytes(gzip.compress(b"packed\n"))
    append(tmp_path / "c.log", b"plain\n")
    with capture_logs() as logs:
        async with following(tmp_path, paths=[str(tmp_path / "*.log*")]) as found:
            await found.has(b"plain")
            await found.looked()
            assert found.source.counts.unreadable == 1
    assert found.values == [b"plain"]
    assert [entry["path"] for entry in logs if "cannot be read" in entry["event"]] == [
        str(tmp_path / "b.log")
    ]


async def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    """A folder, a pipe that nobody writes, and a link to nowhere."""
    (tmp_path / "folder.log").mkdir()
    os.mkfifo(tmp_path / "pipe.log")
    (tmp_path / "nowhere.log").symlink_to(tmp_path / "none")
    append(tmp_path / "a.log", b"one\n")
    async with following(tmp_path) as found:
        await found.has(b"one")
        assert found.source.blocked is None


async def test_a_file_that_vanishes_unread_is_told_of(tmp_path: Path) -> None:
    path = append(tmp_path / "a.log", b"one\n")
    async with following(tmp_path) as found:
        await found.has(b"one")
    append(tmp_path / "b.log", b"three\n")  # before, or it might get the inode
    append(path, b"two\n").unlink()
    with capture_logs() as logs:
        async with following(tmp_path) as again:
            await again.has(b"three")
            await again.until(lambda: again.source.counts.vanished == 1)
            await again.until(lambda: again.source.counts.followed == 1)
    assert sum("gone before" in entry["event"] for entry in logs) == 1


async def test_a_file_that_may_not_be_read_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, counted, tried again, and holds nobody else up."""
    append(tmp_path / "a.log", b"one\n")
    append(tmp_path / "b.log", b"two\n")
    opening, denied = os.open, True

    def deny(path: Any, *rest: Any, **more: Any) -> int:
        if denied and str(path).endswith("a.log"):
            raise PermissionError(13, "Permission denied", path)
        return opening(path, *rest, **more)

    monkeypatch.setattr("enricher.tail.opened.os.open", deny)
    async with following(tmp_path) as found:
        await found.has(b"two")
        await found.until(lambda: found.source.counts.unreadable == 1)
        assert found.source.blocked is None, "one can be read"
        (tmp_path / "b.log").unlink()
        denied = False
        await found.has(b"two", b"one")
        assert found.source.counts.unreadable == 0


async def test_where_nothing_can_be_read_it_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(tmp_path / "a.log", b"one\n")

    opening = os.open

    def deny(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith(".log"):
            raise PermissionError(13, "Permission denied", path)
        return opening(path, *rest, **more)

    monkeypatch.setattr("enricher.tail.opened.os.open", deny)
    async with following(tmp_path) as found:
        await found.until(lambda: found.source.blocked)
        assert found.source.blocked == "file: none of 1 files can be read (Permission denied)"


async def test_a_damaged_state_is_refused_and_kept(tmp_path: Path) -> None:
    """A crash cannot tear it, so somebody has to look: reading all again may page people."""
    append(tmp_path / "a.log", b"one\n")
    async with following(tmp_path) as found:
        await found.has(b"one")
    whole = (tmp_path / "state").read_bytes()
    for torn in (whole[:-9], b"", whole.replace(b'"position":4', b'"position":-4'), b"{}"):
        (tmp_path / "state").write_bytes(torn)
        with pytest.raises(UserError, match=r"state: .*is damaged .*remove it"):
            async with following(tmp_path) as refused:
                await asyncio.wait([refused.reading])
        assert (tmp_path / "state").read_bytes() == torn
    (tmp_path / "state").write_bytes(whole)
    (tmp_path / "state.new").write_bytes(b"half of wha")  # what a crash does leave
    append(tmp_path / "a.log", b"two\n")
    async with following(tmp_path) as again:
        await again.has(b"two")


async def test_a_state_has_one_process(tmp_path: Path) -> None:
    append(tmp_path / "a.log", b"one\n")
    async with following(tmp_path) as found:
        await found.has(b"one")
        with pytest.raises(UserError, match="in use by another enricher"):
            async with following(tmp_path) as other:
                await asyncio.wait([other.reading])
    async with following(tmp_path) as again:
        await again.looked()
        assert again.values == []


async def test_a_state_that_cannot_be_written_blocks_readiness_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(tmp_path / "a.log", b"one\n")
    async with following(tmp_path) as found:
        await found.has(b"one")
        assert await found.source.commit()
        with monkeypatch.context() as patch:

            def full(*_: Any) -> None:
                raise OSError(28, "No space left on device")

            patch.setattr("enricher.tail.state.os.fsync", full)
            append(tmp_path / "a.log", b"two\n")
            await found.has(b"one", b"two")
            await found.until(lambda: found.source.blocked)
            assert "cannot be written (No space left on device)" in str(found.source.blocked)
        await found.until(lambda: not found.source.blocked)
        await found.until(lambda: b'"position":8' in (tmp_path / "state").read_bytes())


async def test_names_may_be_any_bytes(tmp_path: Path) -> None:
    """They are escaped where a text is needed, and found again."""
    path = Path(os.fsdecode(bytes(tmp_path) + b"/\xff%\n.log"))
    append(path, b"one\n")
    async with following(tmp_path) as found:
        await found.has(b"one")
    assert found.records[0].stream == f"{tmp_path}/\\udcff%\n.log"
    append(path, b"two\n")
    async with following(tmp_path) as again:
        await again.has(b"two")
