"""What a kind of personal data is: how it is found, what is kept of it, what is hashed of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from typing import NamedTuple


class Kind(NamedTuple):
    """One kind. Texts are ASCII where they matter: `fold.py` has seen to digits and dashes."""

    name: str
    pattern: str
    """RE2 over ASCII text; its one group is a candidate."""
    fit: Callable[[str], int]
    """Gives how many characters of a candidate, from its beginning on, are of this kind; or 0."""
    mask: Callable[[str], str]
    """Hides what was found, or whatever else stands in a field of this kind. The text keeps its
    length, and what is hidden already stays as it is."""
    normal: Callable[[str], str]
    """Gives the form that all ways of writing one value share: it is what is hashed."""
    hint: str = ""
    """RE2 that occurs wherever a candidate does, in the text or in its JSON; `pattern` if empty."""
    has_checksum: bool = False
    """Whether a number that fits is hardly another one: then JSON integers are looked at, too."""


ESCAPED = r"\\[nrtbf]|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2}"
"""What stands for a character in JSON, in JSON within a text, or in a URL."""
BEFORE_NUMBER = rf"(?:^|[^\w*.]|(?:^|[^*])\*{{1,3}}|(?:^|[^0-9])\.|{ESCAPED})"
"""A number begins here: not within a word, behind a decimal point or behind what was masked."""
AFTER_NUMBER = r"(?:$|[^\w.*]|\*{1,3}(?:$|[^\w*])|\.(?:$|[^0-9]))"
"""It ends here; in front of many stars it is what is left of an address."""
GAP = "(?:[ +-]|%20)"
"""Between groups of digits; a plus is a space in a form's body."""

_DIGIT = re.compile(r"%2[0B]|([0-9*])")
_LETTER_OR_DIGIT = re.compile("([A-Za-z0-9*])")
_NUMBER = re.compile(r"(?:[0-9*\s().+/-]|%2[0B])*")
_WORD_CHARACTER = re.compile(r"\w")


def digits_of(text: str) -> str:
    """Give the digits of a number, without what stands between them."""
    return "".join(filter(None, _DIGIT.findall(text)))


def mask_number(text: str, lengths: Container[int], *, first: int = 0) -> str:
    """Hide the digits of a number but the last four, and so many at its beginning.

    What is no number of these lengths is hidden whole.
    """
    places = [found.start() for found in _DIGIT.finditer(text) if found[1]]
    if len(places) not in lengths or not _NUMBER.fullmatch(text):
        return mask_whole(text)
    return _starred(text, places[first:-4])


def mask_code(text: str, length: int) -> str:
    """Hide the letters and digits of a code but the last four; another length is hidden whole."""
    places = [found.start() for found in _LETTER_OR_DIGIT.finditer(text)]
    return mask_whole(text) if len(places) != length else _starred(text, places[:-4])


def mask_whole(text: str) -> str:
    """Hide every letter and digit."""
    return _WORD_CHARACTER.sub("*", text)


def _starred(text: str, places: list[int]) -> str:
    characters = list(text)
    for place in places:
        characters[place] = "*"
    return "".join(characters)
