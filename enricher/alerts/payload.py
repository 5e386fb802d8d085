"""Bodies of webhooks: JSON by structure, never by splicing texts together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from enricher.alerts.digest import Digest, Match
from enricher.alerts.identity import name_of
from enricher.alerts.text import KNOWN, RAW, Style, View, compile_text, cut
from enricher.template import as_text, parse, reader

Payload = Callable[[Digest], bytes]
MOST_BYTES = 256 << 10
"""Of the events in a generic body; a match whose event goes beyond is told without it."""
MOST_COPIED = 16 << 10
"""Bytes of an object or a list that a template copies."""
MOST_TEXT = 2_900
"""Characters of a text for Slack, which refuses a section with more than 3,000."""


def compile_body(body: Any, style: Style, pipeline: str) -> Payload:
    """Build the function that fills in a body of the author's; its fields are the first match's."""
    write = _compile(body, style)

    def payload(digest: Digest) -> bytes:
        return orjson.dumps(write(View(digest, digest.shown[0], digest.count - 1, pipeline)))

    return payload


def _compile(value: Any, style: Style) -> Callable[[View], Any]:
    if isinstance(value, dict):
        fields = [(key, _compile(inner, style)) for key, inner in value.items()]
        return lambda view: {key: write(view) for key, write in fields}
    if isinstance(value, list):
        items = [_compile(inner, style) for inner in value]
        return lambda view: [write(view) for write in items]
    return _compile_text(value, style) if isinstance(value, str) else lambda _: value


def _compile_text(text: str, style: Style) -> Callable[[View], Any]:
    fill = compile_text(text, style)
    if style is not RAW:
        return lambda view: cut(fill(view), MOST_TEXT)
    part, *others = parse(text, KNOWN)
    if part.keys and not others:
        read = reader(part)
        return lambda view: _copied(read(view.match.event), style)
    if part.builtin == "count" and not others:
        return lambda view: view.digest.count
    return fill


def _copied(value: Any, style: Style) -> Any:
    """Give a value with its type, within bounds: what is too large is the beginning of its text."""
    if type(value) in (dict, list) and len(orjson.dumps(value)) <= MOST_COPIED:
        return value
    return cut(as_text(value), style.most) if type(value) in (str, dict, list) else value


def generic_body(pipeline: str) -> Payload:
    """Build the function that writes what any program can read."""

    def payload(digest: Digest) -> bytes:
        matches: list[dict[str, Any]] = []
        room = MOST_BYTES
        for match in digest.shown:
            event = orjson.dumps(match.event)
            if len(event) > room:
                event = b"null"
            room -= len(event)
            matches.append(_told(match, event))
        return orjson.dumps(
            {
                "id": name_of(pipeline, digest),
                "pipeline": pipeline,
                "alert": digest.alert,
                "summary": cut(digest.shown[0].summary, RAW.most),
                "count": digest.count,
                "first_at": _time(digest.first_at),
                "last_at": _time(digest.last_at),
                "matches": matches,
            }
        )

    return payload


def _told(match: Match, event: bytes) -> dict[str, Any]:
    return {
        "summary": cut(match.summary, RAW.most),
        "record_id": match.record_id,
        "at": _time(match.at),
        "event": orjson.Fragment(event),
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
