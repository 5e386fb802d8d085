"""A dead letter as it lies in the queue, and as one line of JSON."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from enricher.model import DeadLetter, Record


class Place(NamedTuple):
    """Where a letter lies: the later of two letters of one id is at the greater place."""

    partition: int
    offset: int
    """In the partition; in a file the byte where its line begins."""


NOWHERE = Place(0, 0)


class Cut(NamedTuple):
    """What is told of a record that was too large to be kept whole."""

    size: int
    """Bytes of the value as it was."""
    sha256: str


class Letter(NamedTuple):
    """A dead letter with all that its writer noted beside it."""

    dead: DeadLetter
    pipeline: str
    """`name@hash` of the pipeline that could not do with it."""
    time: str
    """When it was written, ISO 8601 in UTC."""
    cut: Cut | None = None
    """Given where the value or the key is not all of the record: it cannot be replayed."""
    place: Place = NOWHERE

    @property
    def id(self) -> str:
        """Give the record's id."""
        return self.dead.record.id


def now() -> str:
    """Give the time as letters note it; such texts compare as their times do."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def to_line(letter: Letter) -> bytes:
    """Write a letter as one line of JSON; bytes that are no text become Base64."""
    dead, record = letter.dead, letter.dead.record
    entry = {
        "id": record.id,
        "stage": dead.stage,
        "error": dead.error,
        "reason": dead.reason.encode(errors="replace").decode(),
        "pipeline": letter.pipeline,
        **_text("stream", record.stream.encode(errors="surrogateescape")),
        "position": record.position,
        "timestamp": record.timestamp,
        **_text("key", record.key),
        **_text("value", record.value),
        "at": letter.time,
    }
    if dead.is_masked:
        entry["masked"] = True
    if letter.cut:
        entry |= {"truncated": True, "size": letter.cut.size, "sha256": letter.cut.sha256}
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)


def from_line(line: bytes, place: Place = NOWHERE) -> Letter | None:
    """Give back the letter of a line; None where it is none, as a torn line is."""
    try:
        entry = orjson.loads(line)
        _check(entry)
        record = Record(
            value=_bytes(entry, "value") or b"",
            id=entry["id"],
            timestamp=entry["timestamp"],
            stream=(_bytes(entry, "stream") or b"").decode(errors="surrogateescape"),
            position=entry["position"],
            key=_bytes(entry, "key"),
        )
        is_masked = entry.get("masked") is True
        dead = DeadLetter(record, entry["stage"], entry["error"], entry["reason"], is_masked)
        cut = Cut(entry["size"], entry["sha256"]) if entry.get("truncated") else None
        return Letter(dead, entry["pipeline"], entry["at"], cut, place)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


_TEXTS = ("id", "stage", "error", "reason", "pipeline", "at")


def _check(entry: dict[str, Any]) -> None:
    """Raise TypeError for what is JSON, and yet no letter."""
    numbers = [entry["position"], entry["timestamp"] or 0]
    texts = [entry[name] for name in _TEXTS]
    if entry.get("truncated"):
        numbers.append(entry["size"])
        texts.append(entry["sha256"])
    if {*map(type, texts)} != {str} or {*map(type, numbers)} != {int}:
        raise TypeError


def _text(name: str, value: bytes | None) -> dict[str, str | None]:
    if value is None:
        return {name: None}
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}


def _bytes(entry: dict[str, Any], name: str) -> bytes | None:
    if (encoded := entry.get(f"{name}_base64")) is not None:
        return base64.b64decode(encoded)
    text: str | None = entry[name]
    return None if text is None else text.encode()
