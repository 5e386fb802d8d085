"""One file that is followed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import NamedTuple

from enricher.lines import HASHED
from enricher.model import Record
from enricher.watermark import Watermark

_HEAD = 16 << 10
"""Bytes in which the first line has to begin; what is blank so far counts as that line."""

Key = tuple[int, int]
"""Device and inode."""


@dataclass(slots=True, eq=False)
class Tracked:
    """Where reading a file has come to; a rename changes nothing of it but the path.

    A file that is truncated, or another one with its inode, is another `Tracked` of the next turn.
    """

    key: Key
    path: str
    """Where one of the paths leads to it, or did."""
    real: str
    """Without links: when it is renamed, it is looked for beside that."""
    start: int = 0
    """Where this run began to read."""
    first: str = ""
    """The fingerprint of its first line; empty while that may still grow."""
    turn: int = 0
    """How often its inode began anew: a first line that comes again names no record twice."""
    position: int = 0
    """Where the next record begins."""
    scanned: int = 0
    """Bytes behind that in which no line ends."""
    size: int | None = None
    """When it was looked at; None before that."""
    changed_at: float = 0.0
    """By the monotonic clock."""
    gone_since: float | None = None
    """Since when none of the paths leads to it."""
    is_changed: bool = True
    """Whether its first line has to be looked at before anything is read."""
    is_done: bool = False
    """Whether nothing more is read of it."""
    unreadable: str = ""
    """Why it cannot be read."""
    mark: Watermark = field(default_factory=Watermark)
    """What is settled; only the event loop touches it."""
    _modified_ns: int = 0

    @property
    def committed(self) -> int:
        """The offset up to which all is settled."""
        return self.start if self.mark.position is None else self.mark.position

    @property
    def has_more(self) -> bool:
        """Whether there is something that was not looked at."""
        unseen = self.size is not None and self.position + self.scanned < self.size
        return not self.is_done and (self.is_changed or unseen)

    @property
    def prefix(self) -> str:
        """What the ids of its records begin with."""
        turn = f".{self.turn}" if self.turn else ""
        return f"{self.key[0]:x}-{self.key[1]:x}-{self.first}{turn}-"

    def note(self, status: os.stat_result, now: float) -> None:
        """Note its size, and whether it has changed."""
        if (status.st_size, status.st_mtime_ns) != (self.size, self._modified_ns):
            self.size, self._modified_ns = status.st_size, status.st_mtime_ns
            self.is_changed, self.changed_at = True, now


class Piece(NamedTuple):
    """Records of one file that follow each other."""

    file: Tracked
    begin: int
    end: int
    """Offset behind the last line, blank ones too."""
    records: list[Record]


def key_of(status: os.stat_result) -> Key:
    """Tell a file by its device and inode."""
    return status.st_dev, status.st_ino


def first_line(file: int, *, is_final: bool = False) -> bytes | None:
    """Give the first line that is not blank, or enough of it; None while it may still grow.

    Args:
        file: A descriptor.
        is_final: Whether it will not grow any more.
    """
    head = os.pread(file, _HEAD, 0)
    begin = 0
    while (end := head.find(b"\n", begin)) >= 0:
        line = head[begin:end].removesuffix(b"\r")
        if line.strip():
            return line[:HASHED]
        begin = end + 1
    rest = head[begin:]
    is_enough = is_final or len(head) == _HEAD or len(rest) > HASHED
    return rest[:HASHED] if is_enough else None
