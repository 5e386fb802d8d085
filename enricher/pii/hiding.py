"""What stands in the place of personal data: stars, or a keyed hash."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from enricher.pii.kind import Kind


class Finding(NamedTuple):
    """A part of a text that is of a kind."""

    start: int
    end: int
    kind: Kind


Hide = Callable[[str, Sequence[Finding]], str]
"""Writes what stands in the place of a text, given all that was found in it; it covers the text."""

HASH_DIGITS = 24
"""Hexadecimal digits of a hash that are kept: 96 bits, enough for 10¹⁰ values without a clash."""
_HASH = re.compile(rf"[a-z]+_[0-9a-f]{{{HASH_DIGITS}}}")


def mask(text: str, found: Sequence[Finding]) -> str:
    """Put stars in the place of what each kind hides; the text keeps its length."""
    if len(found) == 1:
        return found[0].kind.mask(text)
    characters = list(text)
    for start, end, kind in found:
        for place, character in enumerate(kind.mask(text[start:end]), start):
            if character == "*":
                characters[place] = "*"
    return "".join(characters)


def hasher(key: bytes) -> Hide:
    """Build the function that writes `card_1f0c…`: one value and key give one hash.

    It is the HMAC-SHA256 of the kind and of the value's normal form. A hash stays as it is.
    """

    def write(text: str, found: Sequence[Finding]) -> str:
        if _HASH.fullmatch(text):
            return text
        kind = max(found, key=lambda one: one.end - one.start).kind
        message = f"{kind.name}:{kind.normal(text) or text}"
        digest = hmac.digest(key, message.encode(errors="surrogatepass"), "sha256").hex()
        return f"{kind.name}_{digest[:HASH_DIGITS]}"

    return write
