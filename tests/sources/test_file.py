"""The file source yields every line once, whatever is in it, in bounded memory."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from enricher import lines as reading
from enricher.cli import cli
from enricher.lines import Progress, read_records
from enricher.model import Record, UserError
from enricher.sources.base import Setting
from enricher.sources.file import File, FileSource

LINES = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=60)


def _read(path: Path, longest: int = 1 << 20) -> list[Record]:
    batches = read_records(str(path), max_record_bytes=longest)
    return [record for batch in batches for record in batch]


def _write(path: Path, data: bytes, *, compress: bool) -> Path:
    path.write_bytes(gzip.compress(data) if compress else data)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder that outlives the examples of a property."""
    return tmp_path_factory.mktemp("lines")


@given(
    lines=LINES,
    ends=st.sampled_from([b"\n", b"\r\n"]),
    last=st.booleans(),
    compress=st.booleans(),
    chunk=st.integers(1, 50),
    longest=st.integers(1, 60),
)
@settings(deadline=None)
def test_every_line_comes_once_with_its_offset(  # noqa: PLR0913 - drawn, not called
    folder: Path,
    lines: list[bytes],
    ends: bytes,
    last: bool,  # noqa: FBT001 - drawn
    compress: bool,  # noqa: FBT001 - drawn
    chunk: int,
    longest: int,
) -> None:
    """Any bytes, any chunk, any end of line: as if the file were cut at its newlines."""
    data = ends.join(lines) + (ends if last else b"")
    expected = []
    offset = 0
    for line in data.split(b"\n"):
        # What is cut off is never looked at, so its blanks and its return do not count.
        seen = line if len(line) <= longest else None
        if seen is not None and seen.strip():
            expected.append((offset, seen.removesuffix(b"\r")))
        elif seen is None:
            expected.append((offset, line))
        offset += len(line) + 1
    if data.startswith(b"\x1f\x8b"):
        return  # taken for gzip, on purpose
    path = _write(folder / "data", data, compress=compress)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "CHUNK", chunk)
        found = _read(path, longest)

    by_offset = {record.position: record.value for record in found}
    assert len(by_offset) == len(found)
    for position, line in expected:
        if len(line) <= longest:
            assert by_offset.pop(position) == line
        elif position in by_offset:
            value = by_offset.pop(position)
            assert line.startswith(value)
            assert len(value) == longest + 1 or line.removesuffix(b"\r") == value
        else:  # the part that was kept is blank
            assert not line[: longest + 1].strip()
    assert not by_offset


def test_a_cut_line_shows_that_it_was_cut(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a carriage return stands at the cut: it would pass for a whole record else."""
    monkeypatch.setattr(reading, "CHUNK", 5)
    path = _write(folder / "cut", b"abcd\refgh\nx\r\n", compress=False)
    cut, whole = _read(path, 4)
    assert len(cut.value) == 5
    assert whole.value == b"x"


@given(data=st.binary(max_size=300).map(b"x".__add__), chunk=st.integers(1, 64))
@settings(deadline=None)
def test_gzip_members_one_after_the_other_are_one_stream(
    folder: Path, data: bytes, chunk: int
) -> None:
    """Offsets are those of the decompressed stream; padding after a member is ignored."""
    plain = _write(folder / "plain", data, compress=False)
    members = gzip.compress(data[:100]) + gzip.compress(b"") + gzip.compress(data[100:])
    packed = _write(folder / "packed", members + b"\0" * 7, compress=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "CHUNK", chunk)
        expected, found = _read(plain), _read(packed)
    assert [(r.position, r.value) for r in found] == [(r.position, r.value) for r in expected]


def test_gzip_is_told_by_its_content_not_its_name(tmp_path: Path) -> None:
    """A compressed file without the suffix is read, and so is a plain one that has it."""
    assert _read(_write(tmp_path / "a", b"x\n", compress=True))[0].value == b"x"
    assert _read(_write(tmp_path / "b.gz", b"x\n", compress=False))[0].value == b"x"


def test_an_id_survives_a_rename_and_tells_files_apart(tmp_path: Path) -> None:
    """Device, inode, the first line and the offset make the id, the name does not."""
    path = _write(tmp_path / "a", b"first\nsecond\n", compress=False)
    before = [record.id for record in _read(path)]
    moved = path.rename(tmp_path / "b")
    assert [record.id for record in _read(moved)] == before
    assert [name.rsplit("-", 1)[1] for name in before] == ["0", "6"]
    moved.write_bytes(b"other\nsecond\n")  # the same inode
    assert not set(before) & {record.id for record in _read(moved)}


@pytest.mark.parametrize("compress", [False, True])
def test_a_giant_line_is_cut_in_bounded_memory(tmp_path: Path, *, compress: bool) -> None:
    """A line of 64 MiB is passed on as 1 MiB and a byte, and the next line is whole."""
    path = _write(tmp_path / "a", b"a\n" + b"x" * (64 << 20) + b"\nz\n", compress=compress)
    tracemalloc.start()
    found = [(r.position, len(r.value)) for batch in read_records(str(path)) for r in batch]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [(0, 1), (2, (1 << 20) + 1), (3 + (64 << 20), 1)]
    assert peak < 8 << 20


def test_batches_are_bounded(tmp_path: Path) -> None:
    """No batch has more than 1,000 records, nor more than about 1 MiB."""
    path = _write(tmp_path / "a", b"x\n" * 5000 + b"y" * (900 << 10) + b"\n", compress=False)
    batches = list(read_records(str(path)))
    assert sum(map(len, batches)) == 5001
    assert max(map(len, batches)) == 1000
    assert max(sum(len(r.value) for r in batch) for batch in batches) <= (1 << 20) + 1


def test_progress_reaches_the_size(tmp_path: Path) -> None:
    """Bytes are counted as they lie on disk."""
    paths = [_write(tmp_path / n, b"x\n" * 9999, compress=n == "gz") for n in ("plain", "gz")]
    source = FileSource(map(str, paths))

    async def run() -> int:
        return sum([len(delivery.records) async for delivery in source.deliveries()])

    assert asyncio.run(run()) == 2 * 9999
    assert source.read_bytes == source.total_bytes == sum(path.stat().st_size for path in paths)


def test_stop_ends_the_deliveries_without_half_a_line(tmp_path: Path) -> None:
    """What was begun and not read to its newline is no record."""
    path = _write(tmp_path / "a", b"x" * 99 + b"\n", compress=False)
    progress = Progress()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "CHUNK", 10)
        batches = read_records(str(path), progress=progress)
        progress.stopping = True
        assert list(batches) == []


def test_standard_input_is_read_as_it_comes() -> None:
    """A line is delivered while the writer still holds the pipe open; stop() ends the wait."""
    code = (
        "import asyncio\n"
        "from enricher.sources.base import Setting\n"
        "from enricher.sources.file import File\n"
        "async def main():\n"
        "    source = File(paths=['-']).build(Setting())\n"
        "    async for delivery in source.deliveries():\n"
        "        print([(r.id, r.value) for r in delivery.records], source.total_bytes)\n"
        "        source.stop()\n"
        "asyncio.run(main())\n"
    )

    async def run() -> bytes:
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdin=pipe, stdout=pipe
        )
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"one\n")
        line = await asyncio.wait_for(child.stdout.readline(), 20)
        await asyncio.wait_for(child.wait(), 20)
        return line

    assert asyncio.run(run()) == b"[('stdin-0', b'one')] None\n"


def _folder(path: Path) -> None:
    path.mkdir()


def _damaged(path: Path) -> None:
    path.write_bytes(gzip.compress(b"x\n" * 100)[:20] + b"\xff" * 60)


def _truncated(path: Path) -> None:
    path.write_bytes(gzip.compress(os.urandom(1000))[:-9])


def _trailing(path: Path) -> None:
    path.write_bytes(gzip.compress(b"x\n") + b"rubbish")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda _: None, "cannot be read .No such file"),
        (_folder, "cannot be read .Is a directory"),
        (_damaged, "gzip data is damaged"),
        (_truncated, "gzip data ends too early"),
        (_trailing, "gzip data is damaged"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, make: Callable[[Path], None], what: str
) -> None:
    """The error says which file, what is wrong, and what to look at."""
    path = tmp_path / "input"
    make(path)
    with pytest.raises(UserError, match=what) as caught:
        _read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "file source" in str(caught.value)


def test_a_missing_file_is_reported_before_anything_is_read(tmp_path: Path) -> None:
    """A typo in the second path shows at once, not after hours of the first."""
    first = _write(tmp_path / "a", b"x\n", compress=False)
    source = File(paths=[str(first), str(tmp_path / "b")]).build(Setting())

    async def run() -> None:
        async for _ in source.deliveries():
            raise AssertionError("read something")

    with pytest.raises(UserError, match="No such file"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"follow": True}, "follow needs state"),
        ({"state": "s"}, "state is for follow: true"),
        ({"paths": ["-"], "follow": True, "state": "s"}, "standard input cannot be followed"),
    ],
)
def test_what_does_not_go_together_is_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        File(**({"paths": ["a"]} | settings))


def test_workers_cannot_share_followed_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="workers cannot share"):
        File(paths=["a"], follow=True, state=tmp_path / "s").build(Setting(worker=0))


def test_check_says_what_matches_nothing_and_refuses_a_damaged_state(tmp_path: Path) -> None:
    """The first is a word, for files may come; the second would not start."""
    source = {"paths": [f"{tmp_path}/*.log"], "follow": True, "state": f"{tmp_path}/state"}
    pipeline = tmp_path / "p.yaml"
    parts = {
        "connections": {"elasticsearch": {"hosts": "http://localhost:9200"}},
        "sources": [{"file": source}],
        "stages": [{"json": {}}],
        "routes": [{"elasticsearch": {"index": "logs"}}],
    }
    pipeline.write_text(json.dumps({"name": "p"} | parts))

    def check() -> Result:
        return CliRunner().invoke(cli, ["check", str(pipeline)])

    found = check()
    assert found.exit_code == 0
    assert "p.yaml:1:" in found.stderr
    assert f'"{tmp_path}/*.log": no file matches yet' in found.stderr
    (tmp_path / "a.log").touch()
    assert "matches" not in check().stderr
    (tmp_path / "state").write_bytes(b"{")
    found = check()
    assert found.exit_code == 2
    assert f"source file state: {tmp_path}/state is damaged" in found.stderr
    assert not (tmp_path / "state.lock").exists()
