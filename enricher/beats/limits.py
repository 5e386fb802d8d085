"""What a peer may ask for, and what is said of one that asks for more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may ask for; sizes in bytes."""

    window: int = 16_384
    """Events."""
    frame: int = 10 << 20
    """Of a compressed frame, as it is sent."""
    inflated: int = 64 << 20
    """Of a compressed frame, inflated; no event is longer either."""
    ratio: int = 100
    """Inflated bytes to one compressed byte, beyond the first `ratio_from`."""
    ratio_from: int = 4 << 20
    record: int = 1 << 20
    """Of an event; a longer one is cut to one byte more, to be refused by who decodes it."""
    pairs: int = 1024
    """Of keys and values in one data frame."""


LIMITS = Limits()


class Refused(Exception):  # noqa: N818 - what the peer sent is refused
    """Bytes after which a connection cannot go on; the text says what was wrong with them."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        """One of few words, for counting."""
