"""Digits, dashes and spaces of all scripts, as ASCII has them; what cannot be seen goes.

A number is no other one for being written in Devanagari digits, in full width or with a
zero-width space in it. Letters stay as they are.
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
from collections.abc import Iterator

_FULL_WIDTH = range(0xFF01, 0xFF5F)
_SOURCES = (range(0x80, 0x20000), range(0xE0000, 0xE0080))
"""Where Unicode has digits, dashes, spaces and format characters."""


@functools.cache
def _table() -> dict[int, int | None]:
    """Give what each character becomes; None: it goes."""
    found: dict[int, int | None] = {0: None, 0x2212: ord("-")}
    for code in itertools.chain(*_SOURCES):
        match unicodedata.category(character := chr(code)):
            case "Cf":
                found[code] = None
            case "Nd":
                found[code] = ord("0") + unicodedata.digit(character)
            case "Zs":
                found[code] = ord(" ")
            case "Pd":
                found[code] = ord("-")
    return found | {code: code - 0xFEE0 for code in _FULL_WIDTH}


def _ranges(codes: list[int]) -> Iterator[str]:
    for _, group in itertools.groupby(enumerate(codes), lambda pair: pair[1] - pair[0]):
        run = [code for _, code in group]
        yield rf"\x{{{run[0]:x}}}-\x{{{run[-1]:x}}}"


def odd() -> str:
    """Give the pattern that finds those characters in a text or in its JSON."""
    return rf"[{''.join(_ranges(sorted(_table())))}]|\\u0000"


def fold(text: str) -> str:
    """Give a text with its digits, dashes and spaces as ASCII has them."""
    return text if text.isascii() and "\0" not in text else text.translate(_table())


def places(text: str, folded: str) -> range | list[int]:
    """Give, for each character of a folded text and its end, where it stands in the text."""
    if len(text) == len(folded):
        return range(len(text) + 1)
    known = _table()
    return [at for at, c in enumerate(text) if known.get(ord(c), 0) is not None] + [len(text)]
