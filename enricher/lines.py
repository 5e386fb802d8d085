"""The lines of files (NDJSON), plain or gzip, and of standard input, as records."""

from __future__ import annotations

import os
import select
import stat
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from io import FileIO
from itertools import accumulate, chain
from pathlib import Path

from enricher.model import Record, UserError

STDIN = "-"
MAX_RECORD = 1 << 20
CHUNK = 256 << 10
"""Larger ones are slower: the lines of one should stay in the processor's cache."""
RECORDS = 1000
HASHED = 4096
"""Bytes of a first line that tell its file from others."""
_LOOK_S = 0.25
"""How long a read of standard input may block before it looks whether it should stop."""
GZIP = b"\x1f\x8b"
_record = Record._make


@dataclass(slots=True)
class Progress:
    """How far reading has come; may be looked at from another thread."""

    read_bytes: int = 0
    """Bytes as they lie on disk, so compressed ones for gzip."""
    stopping: bool = False
    """Set to end reading at the next chunk."""


def total_bytes(paths: Iterable[str]) -> int | None:
    """Give the size of all files on disk, or None when one of them is a pipe.

    Raises:
        UserError: A file is missing or cannot be looked at.
    """
    total: int | None = 0
    for path in paths:
        try:
            status = os.fstat(0) if path == STDIN else Path(path).stat()
        except OSError as error:
            raise _unreadable(path, error) from None
        known = total is not None and stat.S_ISREG(status.st_mode)
        total = (total or 0) + status.st_size if known else None
    return total


def read_records(
    path: str, *, max_record_bytes: int = MAX_RECORD, progress: Progress | None = None
) -> Iterator[list[Record]]:
    """Yield the lines of one file in lists of at most 1,000 records and about 1 MiB.

    Blank lines are skipped; a carriage return before the newline is no part of the record. The
    memory needed does not depend on the length of a line.

    Args:
        path: A file, or `-` for standard input.
        max_record_bytes: A longer line is cut to one byte more.
        progress: Kept up to date, and asked whether to stop.

    Raises:
        UserError: The file is missing, unreadable or damaged.
    """
    progress = progress or Progress()
    try:
        with _open(path) as file:
            status = os.fstat(file.fileno())
            source = "" if path == STDIN else f"{status.st_dev:x}-{status.st_ino:x}"
            blocks = _blocks(_decompressed(_chunks(file, progress), path), max_record_bytes)
            yield from _records(blocks, path, source, max_record_bytes)
    except _Stopped:
        return
    except OSError as error:
        raise _unreadable(path, error) from None


class _Stopped(Exception):  # noqa: N818 - no error: what is in hand is no whole line
    """Ends reading in the middle of a file."""


def _open(path: str) -> FileIO:
    return FileIO(0, closefd=False) if path == STDIN else FileIO(path)


def _unreadable(path: str, error: OSError) -> UserError:
    what = "standard input" if path == STDIN else path
    return UserError(
        f"{what}: cannot be read ({error.strerror}); check the paths of the file source "
        f"(relative ones start at {Path.cwd()})"
    )


def _chunks(file: FileIO, progress: Progress) -> Iterator[bytes]:
    waits = not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    while True:
        if progress.stopping:
            raise _Stopped
        if waits and not select.select([file], [], [], _LOOK_S)[0]:
            continue
        chunk = file.read(CHUNK)
        if not chunk:
            return
        progress.read_bytes += len(chunk)
        yield chunk


def _decompressed(chunks: Iterator[bytes], path: str) -> Iterator[bytes]:
    start = b""
    while len(start) < len(GZIP) and (chunk := next(chunks, b"")):
        start += chunk
    whole = chain([start], chunks)
    return _gunzip(whole, path) if start.startswith(GZIP) else whole


def _gunzip(chunks: Iterator[bytes], path: str) -> Iterator[bytes]:
    """Decompress members one after the other, never more than a chunk at a time."""
    member = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        data = chunk
        while data:
            if member.eof:
                data = data.lstrip(b"\0")  # padding between members
                if not data:
                    break
                member = zlib.decompressobj(wbits=31)
            try:
                text = member.decompress(data, CHUNK)
            except zlib.error as error:
                raise _damaged(path, f"is damaged ({error})") from None
            data = member.unused_data if member.eof else member.unconsumed_tail
            if text:
                yield text
    while not member.eof:  # what was held back for its size
        text = member.decompress(member.unconsumed_tail, CHUNK)
        if not text:
            raise _damaged(path, "ends too early")
        yield text


def _damaged(path: str, how: str) -> UserError:
    return UserError(
        f"{path}: the gzip data {how}; what comes before was read; write the file anew or take "
        "it out of the file source"
    )


def _blocks(chunks: Iterator[bytes], longest: int) -> Iterator[tuple[int, list[bytes], bool]]:
    """Yield offset, lines, and whether they need trimming; a block for each chunk.

    A line that does not end is cut off once it is longer than `longest` even without a carriage
    return: the cut must show.
    """
    offset = 0
    tail = b""
    skipping = False
    for chunk in chunks:
        data = tail + chunk
        if skipping:
            end = data.find(b"\n") + 1 or len(data)
            skipping = data[end - 1 : end] != b"\n"
            offset += end
            data = data[end:]
        untrimmed = len(data) > longest or b"\r" in data
        parts = data.split(b"\n")
        tail = parts.pop()
        if len(tail) > longest + 1:
            yield offset, [*parts, tail], True
            offset += len(data)
            tail, skipping = b"", True
        else:
            yield offset, parts, untrimmed
            offset += len(data) - len(tail)
    yield offset, [tail], True


def _records(
    blocks: Iterator[tuple[int, list[bytes], bool]], path: str, source: str, longest: int
) -> Iterator[list[Record]]:
    prefix = "" if source else "stdin-"
    for block_offset, parts, untrimmed in blocks:
        offsets = accumulate([len(part) + 1 for part in parts], initial=block_offset)
        lines = [trimmed(part, longest) for part in parts] if untrimmed else parts
        if not prefix and (first := next(filter(bytes.strip, lines), None)):
            prefix = f"{source}-{fingerprint(first)}-"
        yield from _batches(
            [
                _record((line, f"{prefix}{offset}", None, path, offset, None))
                for offset, line in zip(offsets, lines, strict=False)
                if line.strip()
            ]
        )


def fingerprint(first: bytes) -> str:
    """Hash the first line that is not blank: it tells a file from another with its inode."""
    return sha256(first[:HASHED]).hexdigest()[:8]


def trimmed(line: bytes, longest: int) -> bytes:
    """Take a line's carriage return off, and cut it so that it shows that it is too long."""
    return line.removesuffix(b"\r")[: longest + 1]


def _batches(records: list[Record]) -> Iterator[list[Record]]:
    start = 0
    if records and len(records[0].value) > CHUNK:  # it began in chunks before
        yield records[:1]
        start = 1
    for at in range(start, len(records), RECORDS):
        yield records[at : at + RECORDS]
