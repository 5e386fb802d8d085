"""Parsers of files that somebody may have damaged."""

from __future__ import annotations

import asyncio
import tempfile
from functools import cache
from pathlib import Path

from enricher.dead_letters.file import FileQueue
from enricher.dead_letters.letter import from_line, to_line
from enricher.geoip.reader import DamagedError, Reader
from enricher.lines import read_records
from enricher.model import UserError
from enricher.tail import state
from tests.dead_letters.letters import letter
from tests.fuzz.target import Target
from tests.geoip.mmdb import write

ADDRESSES = [bytes(4), bytes([1, 2, 3, 4]), b"\xff" * 4, bytes(16), b"\x20\x01" + bytes(14)]


@cache
def scratch() -> Path:
    """Give a file that may be written over."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    return folder / "file"


def run_geoip(data: bytes) -> None:
    """A record, none, or damage that is told; nothing else."""
    try:
        reader = Reader(data)
        for address in ADDRESSES:
            place, length = reader.find(address)
            assert 0 <= length <= 8 * len(address)
            if place is not None:
                reader.read(place)
    except DamagedError as error:
        assert str(error)


def run_dead_letters(data: bytes) -> None:
    """A line is a letter or passed over; what is a letter is written again as it was read."""
    scratch().write_bytes(data)

    async def run() -> int:
        queue = FileQueue(scratch())
        found = [one async for some in queue.scan() for one in some]
        await queue.close()
        for one in found:
            assert one.letter is not None
            again = from_line(to_line(one.letter), one.place)
            assert again == one.letter, one
        return len(found)

    count = asyncio.run(run())
    assert count <= data.count(b"\n") + 1


def run_file(data: bytes) -> None:
    """Lines of any file, packed or not, are read or the damage is told; offsets rise."""
    scratch().write_bytes(data)
    try:
        found = [one for some in read_records(str(scratch()), max_record_bytes=50) for one in some]
    except UserError as error:
        assert "damaged" in str(error) or "too early" in str(error)
        return
    places = [record.position for record in found]
    assert places == sorted(set(places))
    assert all(0 < len(record.value) <= 51 for record in found)


def run_state(data: bytes) -> None:
    """A state that says where files were, or one that is refused."""
    scratch().write_bytes(data)
    try:
        found = state.read(scratch())
    except UserError as error:
        assert "is damaged" in str(error)
        return
    assert all(one.committed == one.position >= 0 for one in found)
    scratch().unlink()
    written = state.State(scratch())
    written.save(found)
    assert [one.key for one in state.read(scratch())] == [one.key for one in found]


def databases() -> list[bytes]:
    """Make small databases of each kind."""
    record = {
        "a": "text",
        "n": 1 << 40,
        "f": 1.5,
        "l": [{"a": "text"}, True, b"\0"],
        "m": {"x": {}},
    }
    networks = {"1.0.0.0/8": record, "1.2.3.4/32": {"n": 1}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "d.mmdb"
        return [
            write(file, networks, version=version, record_size=size).read_bytes()
            for version, size in ((4, 24), (4, 28), (6, 32))
        ]


LETTERS = b"".join(map(to_line, [letter(), letter(1, value=b"\xff", key=b"k", stream="a/0")]))
STATE = (
    b'{"version":1,"files":[{"path":"/var/log/a.log","device":1,"inode":2,"first":"ab","turn":0,'
    b'"position":9}]}\n'
)
TARGETS = (
    Target(
        "geoip",
        run_geoip,
        databases(),
        [b"\xab\xcd\xefMaxMind.com", b"node_count", b"record_size", b"ip_version", b"\x5f", b"\x20", b"\xff", b"\0"],
    ),
    Target(
        "dead_letters",
        run_dead_letters,
        [LETTERS, LETTERS[:-20], LETTERS.replace(b"{broken", b"\\ud800")],
        [*(b'"%s":' % name for name in (b"id", b"stage", b"value", b"value_base64", b"truncated", b"size", b"pipeline")),
         b"{", b"}", b"[", b"null", b"1", b"true", b"\n", b'"', b"{}", b'"\\u0000"'],
    ),
    Target("file", run_file, [b"one\ntwo\r\n\nthree", b"\x1f\x8b", b"x" * 60 + b"\n"], [b"\n", b"\r", b" ", b"\x1f\x8b\x08", b"x" * 50]),
    Target("state", run_state, [STATE], [b'"position":', b"-1", b"1e3", b"null", b"%", b"%00", b"{", b"}", b'"', b"9" * 30]),
)  # fmt: skip
