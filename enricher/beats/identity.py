"""What names an event for good: the id that its sender gave it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import orjson

from enricher import path
from enricher.path import FieldPath

_LONGEST = 512
"""Bytes of an `_id` that Elasticsearch takes."""


def identify(prefix: str, field: FieldPath, longest: int) -> Callable[[bytes], str | None]:
    """Build the function that gives a record's id, where its event has one: a text or an integer.

    The prefix keeps ids apart from those of other sources, whatever a sender writes: with the id
    of another record, it could have that record taken for written. An id that is too long for
    Elasticsearch is hashed.

    Args:
        prefix: Put before every id.
        field: Where the id stands in the event.
        longest: Bytes of an event; a longer one is not looked at.
    """
    get = path.getter(field)
    # An event without these bytes has no such field, and need not be decoded here. A name that
    # is written with escapes is overlooked, each time it is sent.
    mark = orjson.dumps(path.parse(field)[-1])

    def identity(value: bytes) -> str | None:
        if mark not in value or len(value) > longest:
            return None
        try:
            event: Any = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
        found = get(event) if type(event) is dict else None
        if (type(found) is not str or not found) and type(found) is not int:
            return None
        text = f"{prefix}{found}"
        if len(text) * 4 > _LONGEST and len(text.encode()) > _LONGEST:
            return f"{prefix}{sha256(text.encode()).hexdigest()}"
        return text

    return identity
