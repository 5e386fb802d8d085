"""Pieces of JSON that are made once and put together into documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from enricher.model import Shared

MAX_TEXTS = 1 << 12
MAX_TEXT = 256
"""Characters of a text that is worth being kept as JSON."""
MAX_SHAPES = 1 << 12
MAX_NAMES = 64
"""Fields of an event whose shape is remembered."""


class Unfit(BaseException):
    """Raised for an event that the overlay cannot do; not an error, and no stage may catch it."""


def unfit() -> None:
    """Give an event up, in the midst of an expression."""
    raise Unfit


def fragment(values: Mapping[str, Any], without: frozenset[str]) -> bytes:
    """Write fields as a piece of JSON, a comma before each. Raises Unfit where that cannot be."""
    if None in values.values():
        raise Unfit  # a local that is None stands for a field that is absent
    kept = {key: value for key, value in values.items() if key not in without}
    try:
        return b"," + orjson.dumps(kept)[1:-1] if kept else b""
    except TypeError:
        raise Unfit from None


class Texts(dict[str, bytes]):
    """The pieces of JSON of one field, by its text; made when they are first asked for."""

    def __init__(self, field: str) -> None:
        super().__init__()
        self.prefix = b"," + orjson.dumps(field) + b":"

    def __missing__(self, text: str) -> bytes:
        piece = self.prefix + orjson.dumps(text)
        if len(self) < MAX_TEXTS and len(text) <= MAX_TEXT:
            self[text] = piece
        return piece

    def piece(self, value: Any) -> bytes:
        """Write a value that may be no text; nothing for None. Raises TypeError."""
        return b"" if value is None else self.prefix + orjson.dumps(value)


Derive = Callable[..., tuple[Any, ...]]
"""Gives one more piece of JSON, and values, for the values of a row. Raises `Unfit`."""


class Rows:
    """Makes the rows of what comes out of one stage's cache; each lies in the dict it is made of.

    A row holds the `Rows` that made it (another plan's are no use), the dict's piece of JSON, and
    what later steps read of the dict or what was derived of that.

    Args:
        without: fields that are kept out of the piece.
        wanted: fields whose values stand in the row.
    """

    def __init__(self, without: frozenset[str], wanted: Sequence[str]) -> None:
        self.derive: Derive | None = None
        self.wanted = wanted
        self._without = without

    def make(self, values: Shared) -> None:
        """Make the row of a dict and keep it there. Raises `Unfit`."""
        if type(values) is not Shared:
            raise Unfit
        piece = fragment(values, self._without)
        read = [values.get(key) for key in self.wanted]
        if self.derive:
            derived, *read = self.derive(*read)
            piece += derived
        values.owner, values.piece, values.row = self, piece, tuple(read)


Shapes = dict[tuple[str, ...], bool]
"""What is known of events by the names of their fields."""


def shapes(suits: Callable[[tuple[str, ...]], bool]) -> tuple[Shapes, Suits]:
    """Give what is known of shapes, and the function that learns whether one more suits."""
    known: Shapes = {}

    def learn(names: tuple[str, ...]) -> bool:
        if len(known) >= MAX_SHAPES:
            known.clear()
        found = suits(names)
        if len(names) <= MAX_NAMES and sum(map(len, names)) <= 32 * MAX_NAMES:
            known[names] = found
        return found

    return known, learn


Suits = Callable[[tuple[str, ...]], bool]
