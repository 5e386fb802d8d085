"""The script that sees events in Redis, made for one stage: what it measures is part of its text.

A server compiles a script once; what came as an argument would be read with every key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha1
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from enricher.state.spec import Measure, Spec

SEE = Path(__file__).with_name("see.lua").read_text("utf-8")
PIECE = 16
"""Events that are read and written together (measured; 8 to 32 are nearly the same)."""

SLACK_MS = 60_000
"""By how much more than is wanted a key is kept, so that it need not be said with every event."""


class Script(NamedTuple):
    """A script, and by what a server knows it."""

    text: str
    sha: str


@lru_cache(maxsize=256)
def script_of(spec: Spec, piece: int) -> Script:
    """Make the script of a stage; pieces have so many events, at most twice as many."""
    known = {
        "measures": [_measured(one, spec.columns) for one in spec.measures],
        "columns": spec.columns,
        "names": "\n".join(spec.columns),
        "numbers": [column.startswith("number:") for column in spec.columns],
        "retention": spec.retention_us,
        "lateness": spec.lateness_us,
        "max_events": spec.max_events,
        "expire": (spec.retention_us + spec.outage_us) // 1000 + SLACK_MS,
        "slack": SLACK_MS,
        "piece": piece,
    }
    text = f"local spec = {lua(known)}\n{SEE}"
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def _measured(one: Measure, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "target": orjson.dumps(one.target).decode() + ":",
        "kind": one.kind,
        "of": [3 + columns.index(column) for column in one.of],  # behind times and ids
        "at_least": one.at_least,
        "within": one.within_us,
        "last": one.last,
        "before": one.before,
    }


def lua(value: Any) -> str:
    """Write a value as Lua does: texts byte by byte, so that none is anything but a text."""
    match value:
        case None:
            return "nil"
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return '"' + "".join(f"\\{byte:03d}" for byte in value.encode()) + '"'
        case Mapping():
            return "{" + ", ".join(f"{name} = {lua(one)}" for name, one in value.items()) + "}"
        case _:
            return "{" + ", ".join(map(lua, value)) + "}"
