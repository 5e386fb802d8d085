"""Cut what is new in a file into records: whole lines, of any length, in bounded memory."""

from __future__ import annotations

import os
from itertools import accumulate

from enricher.lines import CHUNK, fingerprint, trimmed
from enricher.model import Record
from enricher.tail.tracked import Piece, Tracked, first_line

_record = Record._make


def lines(one: Tracked, file: int, most: int, longest: int) -> Piece | None:
    """Read on; None while no line ends in what there is.

    Args:
        one: Whose position moves on.
        file: Its descriptor.
        most: Records at most.
        longest: A longer line is cut to one byte more.
    """
    is_long = one.scanned >= CHUNK
    begin = one.position + (one.scanned if is_long else 0)
    data = os.pread(file, CHUNK, begin)
    if not data:  # cut off since it was looked at
        one.size = begin
        return None
    end = data.find(b"\n") if is_long else data.rfind(b"\n")
    if end < 0:
        one.scanned = begin + len(data) - one.position
        return None
    if is_long:
        return _long(one, file, begin + end - one.position, longest)
    parts = data[:end].split(b"\n", most)
    del parts[most:]
    return _piece(one, parts, longest, is_plain=b"\r" not in data and len(data) <= longest)


def rest(one: Tracked, file: int, longest: int) -> Piece | None:
    """Read a last line that has no newline, of a file that does not grow any more."""
    length = os.fstat(file).st_size - one.position
    if length <= 0:
        return None
    one.first = one.first or fingerprint(first_line(file, is_final=True) or b"")
    return _long(one, file, length, longest, newline=0)


def _long(one: Tracked, file: int, length: int, longest: int, newline: int = 1) -> Piece:
    """Read one line of which the end is known; what is cut off is never read again."""
    # Two bytes more, or a carriage return at the cut would let it pass for a whole one.
    line = os.pread(file, min(length, longest + 2), one.position)
    piece = _piece(one, [line], longest, is_plain=False)
    one.position = piece.begin + length + newline
    return piece._replace(end=one.position)


def _piece(one: Tracked, parts: list[bytes], longest: int, *, is_plain: bool) -> Piece:
    begin, prefix, path = one.position, one.prefix, printable(one.path)
    *offsets, end = accumulate([len(part) + 1 for part in parts], initial=begin)
    found = parts if is_plain else [trimmed(part, longest) for part in parts]
    records = [
        _record((line, f"{prefix}{offset}", None, path, offset, None))
        for offset, line in zip(offsets, found, strict=True)
        if line.strip()
    ]
    one.position, one.scanned = end, 0
    return Piece(one, begin, end, records)


def printable(path: str) -> str:
    """Give a path as text, whatever bytes its names are."""
    return path.encode("utf-8", "backslashreplace").decode()
