"""The result of a backtest for programs."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import orjson

from enricher.backtest.result import Changed, Result
from enricher.inline_tests import ABSENT, Difference

_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATACLASS


def as_json(result: Result) -> bytes:
    """Write everything as one line; its names are those of `result.py`."""
    return orjson.dumps(result, default=_plain, option=_OPTIONS)


def line(value: dict[str, Any]) -> bytes:
    """Write one line."""
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def changed_as_dict(changed: Changed) -> dict[str, Any]:
    """Give one event that would change."""
    return {
        "id": changed.id,
        "time_ms": changed.time_ms,
        "label": changed.label,
        "scores": {name: {"old": old, "new": new} for name, (old, new) in changed.scores.items()},
        "differences": [_difference(one) for one in changed.differences],
    }


def _difference(difference: Difference) -> dict[str, Any]:
    """Give one difference; what is absent has no key."""
    values = (("old", difference.expected), ("new", difference.got))
    return {"path": difference.path, **{k: v for k, v in values if v is not ABSENT}}


def _plain(value: Any) -> dict[str, Any]:
    if isinstance(value, Changed):
        return changed_as_dict(value)
    return {one.name: getattr(value, one.name) for one in fields(value)}
