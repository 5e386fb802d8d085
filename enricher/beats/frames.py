"""Frames of Lumberjack out of bytes, however those are cut. No I/O, and bounded in all it holds.

A frame begins with the version and a letter. `W` opens a window, the number of events that are
acknowledged together; `J` is an event as JSON, `D` one as keys and values; `C` is a compressed
run of frames. Numbers are unsigned, 32 bits, the most significant byte first.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from enricher.beats.inflating import INFLATER_BYTES, Inflating
from enricher.beats.limits import LIMITS, Limits, Refused
from enricher.beats.pairs import Pairs
from enricher.beats.pieces import Pieces

WINDOW, JSON, DATA, COMPRESSED = b"WJDC"
VERSIONS = b"12"
"""Version 2 is that of Beats; Logstash's own output writes 1 on frames of the same form."""
_NUMBER = Struct(">BBI")
_EVENT = Struct(">BBII")
_INFLATED = 256 << 10


class Window(NamedTuple):
    """So many events follow, and are acknowledged together."""

    version: int
    size: int


class Event(NamedTuple):
    """One event, with its number in the window."""

    sequence: int
    value: bytes
    """JSON as it was sent; of a data frame, its keys and values as a JSON object."""


class Parser:
    """Makes windows and events of what it is fed; what it holds is bounded by its limits."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.left = 0
        """Events that are missing in the open window; 0 between two."""
        self.hungry = True
        """Whether nothing more can be made of what was fed."""
        self._limits = limits
        self._outer = Pieces()
        self._compressed: Inflating | None = None
        self._data: Pairs | None = None
        self._skip = 0
        self._refused: Refused | None = None

    @property
    def held(self) -> int:
        """Bytes that are held of frames which are not complete, or not parsed yet."""
        compressed, data = self._compressed, self._data
        return (
            self._outer.size
            + (compressed.inner.size + INFLATER_BYTES if compressed else 0)
            + (data.size if data else 0)
        )

    def feed(self, piece: bytes) -> None:
        """Add what was received."""
        self._outer.add(piece)
        self.hungry = False

    def take(self, most: int = 1000, size: int = _INFLATED) -> list[Window | Event]:
        """Parse on until `hungry`, or until so many frames, or so many inflated bytes, are out.

        Raises:
            Refused: what was fed is unsound; what stands before that was given out before.
        """
        if self._refused:
            raise self._refused
        found: list[Window | Event] = []
        try:
            self._fill(found, most, size)
        except Refused as refused:
            self._refused = refused
            if not found:
                raise
        self._outer.trim()
        if self._compressed:
            self._compressed.inner.trim()
        return found

    def _fill(self, found: list[Window | Event], most: int, size: int) -> None:
        while len(found) < most:
            inner = self._compressed
            if inner is None:
                if not self._scan(self._outer, found, most):
                    self.hungry = True
                    return
            elif not self._scan(inner.inner, found, most):
                if inner.ended:
                    self._end_compressed(inner)
                elif size <= 0:
                    return
                else:
                    got = inner.inflate(self._outer)
                    if not got and not inner.ended and not self._outer.size:
                        self.hungry = True
                        return
                    size -= got

    def _scan(self, source: Pieces, found: list[Window | Event], most: int) -> bool:
        """Parse what is whole. Returns False once more bytes are needed for what comes next."""
        while len(found) < most:
            if not self._step(source, found, most):
                return False
            if self._compressed is not None and source is self._outer:
                return True
        return True

    def _step(self, source: Pieces, found: list[Window | Event], most: int) -> bool:
        if self._skip:
            self._skip -= len(source.take(self._skip))
            return source.size > 0
        if self._data is not None:
            if not self._data.read(source):
                return False
            found.append(Event(self._data.sequence, self._data.as_json()))
            self._data = None
            return True
        if not source.reach(_NUMBER.size):
            return False
        if source.data[source.at + 1] == JSON:
            return self._json(source, found, most)
        return self._other(source, found)

    def _json(self, source: Pieces, found: list[Window | Event], most: int) -> bool:
        """Parse a run of JSON frames; only the last may need care."""
        if not source.reach(_EVENT.size):
            return False
        data, at, end, longest = source.data, source.at, len(source.data), self._limits.record
        count = min(most - len(found), self.left)
        while count and at + 10 <= end:
            version, kind, sequence, length = _EVENT.unpack_from(data, at)
            stop = at + 10 + length
            if kind != JSON or stop > end or length > longest or version not in VERSIONS:
                break
            found.append(Event(sequence, data[at + 10 : stop]))
            at = stop
            count -= 1
            self.left -= 1
        if at > source.at:
            source.advance(at)
            return True
        return self._one_json(source, found)

    def _one_json(self, source: Pieces, found: list[Window | Event]) -> bool:
        version, _, sequence, length = _EVENT.unpack_from(source.data, source.at)
        self._check_event(version)
        if length > self._limits.inflated:
            raise Refused("frame", f"an event of {length} bytes")
        kept = min(length, self._limits.record + 1)
        if not source.reach(_EVENT.size + kept):
            return False
        begin = source.at + _EVENT.size
        found.append(Event(sequence, source.data[begin : begin + kept]))
        source.advance(begin + kept)
        self._skip = length - kept
        self.left -= 1
        return True

    def _other(self, source: Pieces, found: list[Window | Event]) -> bool:
        version, kind, number = _NUMBER.unpack_from(source.data, source.at)
        if version not in VERSIONS or kind not in (WINDOW, DATA, COMPRESSED):
            raise Refused("protocol", _stranger(source.data[source.at : source.at + 6]))
        if kind == WINDOW:
            self._open_window(number)
            found.append(Window(version, number))
        elif kind == COMPRESSED:
            if self._compressed is not None:
                raise Refused("nested", "a compressed frame inside a compressed frame")
            if number > self._limits.frame:
                raise Refused("frame", f"a compressed frame of {number} bytes")
            self._compressed = Inflating(number, self._limits)
        else:
            if not source.reach(_EVENT.size):
                return False
            _, _, sequence, pairs = _EVENT.unpack_from(source.data, source.at)
            self._check_event(version)
            if pairs > self._limits.pairs:
                raise Refused("frame", f"a data frame of {pairs} pairs")
            self._data = Pairs(sequence, pairs, self._limits.record)
            self.left -= 1
        source.advance(source.at + (_EVENT.size if kind == DATA else _NUMBER.size))
        return True

    def _open_window(self, size: int) -> None:
        if self.left:
            raise Refused("window", f"a window before the last one had its {self.left} more events")
        if size > self._limits.window:
            raise Refused("window", f"a window of {size} events")
        self.left = size

    def _check_event(self, version: int) -> None:
        if version not in VERSIONS:
            raise Refused("protocol", f"version {version:#x} of an event")
        if not self.left:
            raise Refused("window", "an event outside a window")

    def _end_compressed(self, compressed: Inflating) -> None:
        if compressed.inner.size or self._data is not None or self._skip:
            raise Refused("inflate", "a compressed frame that ends inside another one")
        self._compressed = None


def _stranger(start: bytes) -> str:
    """Say what the first bytes look like that are no frame."""
    if start[:2] == b"\x16\x03":
        return "TLS, where none is spoken: give the source a certificate, or switch TLS off there"
    return f"no Lumberjack frame: it begins with {start!r}"
