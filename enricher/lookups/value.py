"""What is stored under a key: one JSON object, not too deep."""

from __future__ import annotations

from typing import Any

import orjson

MAX_DEPTH = 64
"""Objects and lists inside each other that a stored value may have; orjson writes 254."""
_EACH = 750
_A_BYTE = 4
_A_CONTAINER = 200
_A_FIELD = 60
"""What an answer takes in memory, in bytes (measured), as Python's objects and as the piece of JSON
that is made of it: in any case, for each byte, for each object and list, and for each field."""


def parse(value: bytes) -> dict[str, Any] | str:
    """Read a stored value: an object, or the reason why it is useless."""
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError:
        return "the stored value is not JSON"
    if _containers(value) > MAX_DEPTH and is_too_deep(parsed):
        return f"the stored value is nested deeper than {MAX_DEPTH}"
    return parsed if type(parsed) is dict else "the stored value is no JSON object"


def footprint(value: object) -> int:
    """Estimate the bytes that the answer to one key takes once it is read."""
    if not isinstance(value, bytes):
        return _EACH
    parts = _A_CONTAINER * _containers(value) + _A_FIELD * value.count(b":")
    return _EACH + _A_BYTE * len(value) + parts


def _containers(value: bytes) -> int:
    return value.count(b"{") + value.count(b"[")


def is_too_deep(value: Any) -> bool:
    """Say whether a value nests deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        children = (v.values() if type(v) is dict else v for v in level)
        level = [child for each in children for child in each if type(child) in (dict, list)]
        if not level:
            return False
    return True
