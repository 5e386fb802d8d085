"""A compressed frame, inflated a piece at a time and within limits."""

from __future__ import annotations

import zlib

from enricher.beats.limits import Limits, Refused
from enricher.beats.pieces import Pieces

INFLATER_BYTES = 48 << 10
"""What zlib holds for one compressed frame: its window of 32 KiB and its state."""
_PIECE = 64 << 10


class Inflating:
    """A compressed frame that is being inflated, a piece at a time."""

    def __init__(self, left: int, limits: Limits) -> None:
        self.inner = Pieces()
        self.ended = False
        self._left = left
        """Compressed bytes that were not taken yet."""
        self._limits = limits
        self._zlib = zlib.decompressobj()
        self._taken = 0
        self._inflated = 0
        self._is_full = False
        """Whether the last piece was as long as could be, so that there may be more."""

    def inflate(self, outer: Pieces) -> int:
        """Inflate one piece, and give its size; 0 where bytes are missing, or it has ended."""
        rest = self._zlib.unconsumed_tail
        if not rest and not self._is_full:
            rest = outer.take(min(self._left, _PIECE))
            self._left -= len(rest)
            self._taken += len(rest)
            if not rest and self._left:
                return 0
        try:
            piece = self._zlib.decompress(rest, _PIECE)
        except zlib.error as error:
            raise Refused("inflate", f"a damaged compressed frame ({error})") from None
        self._is_full = len(piece) == _PIECE
        self.inner.add(piece)
        self._inflated += len(piece)
        self._check()
        return len(piece)

    def _check(self) -> None:
        limits = self._limits
        if self._inflated > limits.inflated:
            raise Refused("inflate", f"a compressed frame of more than {limits.inflated} bytes")
        if self._inflated > max(limits.ratio_from, limits.ratio * self._taken):
            raise Refused("ratio", f"a frame compressed to less than 1/{limits.ratio}")
        if self._zlib.eof and (self._left or self._zlib.unused_data):
            raise Refused("inflate", "a compressed frame with bytes behind its end")
        has_more = self._left or self._zlib.unconsumed_tail or self._is_full
        if not has_more and not self._zlib.eof:
            raise Refused("inflate", "a compressed frame that is cut off")
        self.ended = self._zlib.eof
