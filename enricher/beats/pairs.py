"""A data frame: an event as keys and values."""

from __future__ import annotations

import json
from struct import Struct

from enricher.beats.limits import Refused
from enricher.beats.pieces import Pieces

_LENGTH = Struct(">I")


class Pairs:
    """A data frame whose keys and values are being read."""

    def __init__(self, sequence: int, pairs: int, longest: int) -> None:
        self.sequence = sequence
        self.left = pairs
        self.size = 0
        """Bytes of what was read."""
        self._longest = longest
        self._pairs: dict[bytes, bytes] = {}

    def read(self, source: Pieces) -> bool:
        """Read the pairs that are whole. Returns whether those were all."""
        while self.left:
            key_size = self._length(source, 0)
            if key_size is None:
                return False
            value_size = self._length(source, 4 + key_size)
            if value_size is None or not source.reach(8 + key_size + value_size):
                return False
            key, value = source.at + 4, source.at + 8 + key_size
            self._pairs[source.data[key : key + key_size]] = source.data[value : value + value_size]
            source.advance(value + value_size)
            self.size += 8 + key_size + value_size
            self.left -= 1
        return True

    def _length(self, source: Pieces, offset: int) -> int | None:
        """Read the length that stands at an offset; None where it is not there yet."""
        if not source.reach(offset + 4):
            return None
        length: int = _LENGTH.unpack_from(source.data, source.at + offset)[0]
        if self.size + offset + length > self._longest:
            raise Refused("frame", f"a data frame of more than {self._longest} bytes")
        return length

    def as_json(self) -> bytes:
        """Give the pairs as a JSON object; what is no UTF-8 stays, for the decoder to refuse."""
        texts = {_text(key): _text(value) for key, value in self._pairs.items()}
        whole = json.dumps(texts, ensure_ascii=False).encode(errors="surrogateescape")
        return whole[: self._longest + 1]


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")
