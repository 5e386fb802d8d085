"""Undo a `Content-Encoding` within bounds: nothing is inflated that would then be too much."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

import cramjam

from enricher.http.answers import Refusal

PIECE = 64 << 10
"""Bytes that are inflated at a time."""
SLICE = 16 << 10
"""Bytes that are fed at a time: what zlib leaves of them, it copies."""
FREE = 1 << 20
"""Bytes up to which the ratio is nobody's business."""
_GUESS = 16
"""Times that logs shrink, at most as a rule: the first buffer is that large."""


class Bounds:
    """How much a body may inflate to."""

    def __init__(self, limit: int, ratio: int) -> None:
        self.limit, self.ratio = limit, ratio

    def of(self, sent: int) -> int:
        """Give the bytes that so many sent ones may become."""
        return min(self.limit, max(FREE, self.ratio * sent))

    def refuse(self) -> Refusal:
        """Tell that it is too much."""
        return Refusal(
            413,
            f"inflates to more than {self.limit} bytes, or to more than {self.ratio} times its "
            "size; send it in smaller parts",
        )


class Decoder(Protocol):
    """Undoes one encoding, piece by piece."""

    keeps: bool
    """Whether it keeps what was sent until the end."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what was sent and give what it means so far. Raises Refusal."""
        ...

    def end(self) -> Iterator[bytes]:
        """Give the rest. Raises Refusal where it is cut off, or too much."""
        ...


class Plain:
    """No encoding at all."""

    keeps = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give what was sent."""
        yield data

    def end(self) -> Iterator[bytes]:
        """Give nothing more."""
        return iter(())


class Zlib:
    """gzip, with one member or several, and deflate, with its header or without."""

    keeps = False

    def __init__(self, encoding: str, bounds: Bounds) -> None:
        self._encoding, self._bounds = encoding, bounds
        self._stream: zlib._Decompress | None = None
        self._sent = self._made = 0
        self._is_holding = False
        """Whether zlib may have more to give, without being fed."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what was sent and give what it means so far."""
        for at in range(0, len(data), SLICE):
            yield from self._inflate(data[at : at + SLICE])

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        before, self._sent = self._sent, self._sent + len(data)
        while data or self._is_holding:
            if self._stream is None or self._stream.eof:
                self._stream = zlib.decompressobj(self._window(data))
            stream = self._stream
            try:
                made = stream.decompress(data, PIECE)
            except zlib.error as error:
                reason = f"the {self._encoding} data is damaged: {error}"
                raise Refusal(400, reason, place={"byte": before}) from None
            self._made += len(made)
            if self._made > self._bounds.of(self._sent):
                raise self._bounds.refuse()
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
            self._is_holding = len(made) == PIECE and not stream.eof
            if made:
                yield made

    def _window(self, data: bytes) -> int:
        if self._encoding == "gzip":
            return 31
        has_header = data[0] & 15 == 8 and (len(data) < 2 or (data[0] << 8 | data[1]) % 31 == 0)
        return 15 if has_header else -15

    def end(self) -> Iterator[bytes]:
        """Give nothing more: a piece is never held back."""
        if self._stream is None or not self._stream.eof:
            raise Refusal(400, f"the {self._encoding} data is cut off", place={"byte": self._sent})
        return iter(())


class Zstd:
    """zstd, inflated as a whole into a buffer that ends where it would be too much."""

    keeps = True

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._sent: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what was sent; it is given at the end."""
        self._sent.append(data)
        return iter(())

    def end(self) -> Iterator[bytes]:
        """Give all of it."""
        data = b"".join(self._sent)
        most = self._bounds.of(len(data))
        size = min(most, max(PIECE, _GUESS * len(data)))
        while True:
            buffer = bytearray(size)
            try:
                made = cramjam.zstd.decompress_into(data, buffer)
            except cramjam.DecompressionError as error:
                if "whole buffer" not in str(error):  # its word for: does not fit
                    reason = f"the zstd data is damaged: {error}"
                    raise Refusal(400, reason, place={"byte": len(data)}) from None
                if size == most:
                    raise self._bounds.refuse() from None
                size = min(most, 4 * size)
            else:
                yield bytes(memoryview(buffer)[:made])
                return


def decoder(encoding: str, bounds: Bounds) -> Decoder:
    """Choose by `Content-Encoding`. Raises Refusal for one that is not known, or several."""
    match encoding.strip().lower():
        case "" | "identity":
            return Plain()
        case "gzip" | "x-gzip":
            return Zlib("gzip", bounds)
        case "deflate":
            return Zlib("deflate", bounds)
        case "zstd":
            return Zstd(bounds)
    known = "gzip, deflate, zstd"
    reason = f"Content-Encoding is not known here; one of {known}, or none"
    raise Refusal(415, reason, {"Accept-Encoding": known})
