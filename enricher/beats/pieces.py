"""Bytes as they came, in pieces, joined only where a frame needs them next to each other."""

from __future__ import annotations

_SMALL = 4096
"""Pieces below that are put together: each costs some 40 bytes of its own."""


class Pieces:
    """A queue of bytes; those in `data` from `at` on can be looked at."""

    __slots__ = ("_more", "at", "data", "size")

    def __init__(self) -> None:
        self.data = b""
        self.at = 0
        self.size = 0
        """Bytes that are not taken yet."""
        self._more: list[bytes] = []

    def add(self, piece: bytes) -> None:
        """Put a piece behind the others."""
        self.size += len(piece)
        if self.at == len(self.data):
            self.data, self.at = piece, 0
        elif self._more and len(self._more[-1]) < _SMALL:
            self._more[-1] += piece
        else:
            self._more.append(piece)

    def reach(self, count: int) -> bool:
        """Say whether so many bytes are there; if so, they can be looked at from `at` on."""
        if self.size < count:
            return False
        if len(self.data) - self.at < count:
            self.data = b"".join((self.data[self.at :], *self._more))
            self.at = 0
            self._more.clear()
        return True

    def advance(self, at: int) -> None:
        """Take what can be looked at, up to a place in `data`."""
        self.size -= at - self.at
        self.at = at
        if at == len(self.data) and self._more:
            self.data, self.at = self._more.pop(0), 0

    def take(self, most: int) -> bytes:
        """Take bytes, at most so many; fewer, where the next piece is shorter."""
        taken = self.data[self.at : self.at + most]
        self.advance(self.at + len(taken))
        return taken

    def trim(self) -> None:
        """Let go of what was taken, where that is most of what is held."""
        if self.at * 2 >= len(self.data):
            self.data, self.at = self.data[self.at :], 0
