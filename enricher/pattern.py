"""Patterns on data that others send: RE2, whose time is linear in the text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Groups = tuple[str | None, ...]
"""What a pattern found: the whole match, then each group; None for one that took no part."""


def compile_pattern(text: str) -> Callable[[str], Groups | None]:
    """Compile an RE2 pattern to a function that searches a text. Raises ValueError.

    The wrapper class of google-re2 costs ten times the match itself, so the binding below it is
    called; a test holds the two to the same answers.
    """
    pattern = _compile(text)
    match = pattern._regexp.Match  # noqa: SLF001 - see above
    anchor = _anchor()

    def search(subject: str) -> Groups | None:
        encoded = subject.encode()
        spans = match(anchor, encoded, 0, len(encoded))
        if spans[0][0] < 0:
            return None
        return tuple(
            encoded[start:end].decode(errors="replace") if start >= 0 else None
            for start, end in spans
        )

    return search


def compile_finder(text: str, *, is_utf8: bool = False) -> Callable[[bytes, int], int]:
    """Compile an RE2 pattern over bytes to a function of them and an offset to begin at.

    It gives the offset after the first match, and -1 where there is none. A character of the
    pattern is a byte, or (`is_utf8`) one of UTF-8.
    """
    match = _compile(text, latin1=not is_utf8, groups=False)._regexp.Match  # noqa: SLF001
    anchor = _anchor()

    def find(subject: bytes, begin: int) -> int:
        end: int = match(anchor, subject, begin, len(subject))[0][1]
        return end

    return find


def compile_locator(text: str) -> Callable[[bytes, int], tuple[int, int]]:
    """Compile an RE2 pattern over ASCII with one group to a function of bytes and an offset.

    It gives where the group of the first match begins and ends, and (-1, -1) where there is none.
    """
    match = _compile(text, latin1=True)._regexp.Match  # noqa: SLF001
    anchor = _anchor()

    def locate(subject: bytes, begin: int) -> tuple[int, int]:
        found: tuple[int, int] = match(anchor, subject, begin, len(subject))[1]
        return found

    return locate


def group_names(text: str) -> dict[str, int]:
    """Give the named groups of a pattern and their numbers. Raises ValueError."""
    return {
        name.decode() if isinstance(name, bytes) else name: number
        for name, number in _compile(text).groupindex.items()
    }


def _anchor() -> Any:
    import re2

    return re2._Anchor.UNANCHORED  # noqa: SLF001


def _compile(text: str, *, latin1: bool = False, groups: bool = True) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.never_capture = not groups
    if latin1:
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        return re2.compile(text.encode() if latin1 else text, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise ValueError(f"bad pattern {text!r}: {reason}") from None
