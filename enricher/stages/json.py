"""Decode a record: JSON, or an envelope around it."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from itertools import accumulate
from typing import Any, ClassVar, Literal

import orjson
from pydantic import Field

from enricher.fragments import shapes
from enricher.model import Event, Failure, Record
from enricher.pattern import compile_finder
from enricher.stages.base import Context, Example, Stage, note_failure

_INT64 = range(-(2**63), 2**63)
_LONG_DIGITS = re.compile(rb"[:,\[]\s*-?[0-9]{19}")
_REST = r'(?:[^"\\]|\\.)*"\s*:'
_SUSPICIOUS = rf'[:,\[]\s*-?[0-9]{{19}}|"\.{_REST}|\.\.{_REST}|\."\s*:|""\s*:|\\u00{_REST}'
"""What may be an integer beyond 64 bits, or a key that Elasticsearch refuses."""
TOGETHER = 128
"""Records that are looked through at once; a suspicious one makes each be looked at alone."""
_OPENING = frozenset("{ \t\r\n")
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")


_ODD_VALUES = ("-?[0-9]{19}", r"[\[{]")
"""A member that is a long integer, a list or an object: without one a record is flat. That the
pattern begins with a colon makes RE2 four times as fast as `_SUSPICIOUS`."""
_OPEN_TEXT = r'"[ ]*[{\\]'
"""A text that may be an envelope; a backslash may stand for white space before the bracket."""


class Json(Stage):
    """Decode the record as one JSON object; stands first.

    A record whose `envelope` field is a text that holds a JSON object is merged: the inner
    value wins, and the envelope goes. Refused (dead letter): what is not JSON, no object, not
    UTF-8, deeper than `max_depth`, larger than `max_bytes`, or has a key that Elasticsearch
    cannot hold (empty, with NUL, with a dot at an end or two in a row). An integer outside
    64 bits is kept as text and tagged.
    """

    kind: ClassVar[str] = "json"
    decodes: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "an envelope is opened",
            "json: {envelope: message}",
            {"message": '{"level": "INFO", "message": "paid"}', "host": "a"},
            {"host": "a", "level": "INFO", "message": "paid"},
        ),
        Example(
            "a message for people stays",
            "json: {envelope: message}",
            {"message": "paid"},
            {"message": "paid"},
        ),
    )
    on_error: Literal["dead_letter"] = Field(
        default="dead_letter", description="A record that is no event has nowhere else to go."
    )
    envelope: str | None = Field(default=None, description="A field that may hold the event.")
    max_bytes: int = Field(default=1 << 20, gt=0, description="Of one record.")
    max_depth: int = Field(default=64, gt=0, le=200, description="Of nested objects and lists.")

    def compile(self, context: Context) -> JsonDecoder:  # noqa: ARG002
        """Build the decoder: its size is checked before a record is parsed, its depth before use.

        orjson itself stops at 1,024 levels, so that the parsing of a deep one is bounded, too.
        """
        return JsonDecoder(self)


class JsonDecoder:
    """Decodes batches: together what is plain, and alone what is not."""

    def __init__(self, stage: Json) -> None:
        self.max_bytes, self.max_depth = stage.max_bytes, stage.max_depth
        self.envelope, self.name = stage.envelope, stage.name or stage.kind
        odd = [*_ODD_VALUES, *([] if self.envelope is None else [_OPEN_TEXT])]
        self._find_odd = compile_finder(rf":\s*(?:{'|'.join(odd)})")
        self._find_suspicious = compile_finder(_SUSPICIOUS)
        self._sound, self._learn = shapes(lambda names: not any(map(is_bad, names)))

    def __call__(self, records: list[Record]) -> list[Event | Failure]:
        """Decode with every check."""
        return self.checked(records, self.quickly(records))

    def checked(
        self, records: list[Record], events: list[Event | Failure]
    ) -> list[Event | Failure]:
        """Make the check that `quickly` leaves out; gives the events, or why there is none."""
        sound = self._sound.get
        return [
            event
            if type(event) is not dict or sound(names := tuple(event)) or self.is_sound(names)
            else self.decode_any(record.value)
            for record, event in zip(records, events, strict=True)
        ]

    def quickly(self, records: list[Record]) -> list[Event | Failure]:
        """Decode with every check but one, which is the caller's: `is_sound` of the names."""
        events: list[Event | Failure] = []
        for begin in range(0, len(records), TOGETHER):
            values = [record[0] for record in records[begin : begin + TOGETHER]]
            events += self._decode_plain(values) or map(self.decode_any, values)
        return events

    def _decode_plain(self, values: list[bytes]) -> list[Event | Failure] | None:
        """Decode records together, the odd ones alone; None where that cannot be."""
        text = b"\n".join(values)
        if len(text) > self.max_bytes:
            return None
        try:
            events: list[Any] = list(map(orjson.loads, values))
        except orjson.JSONDecodeError:
            return None
        if set(map(type, events)) != {dict}:
            return None
        find = self._find_odd
        found = find(text, 0)
        if found >= 0:
            ends = list(accumulate([len(value) + 1 for value in values]))
            while found >= 0:
                number = bisect_left(ends, found)
                if not self._is_harmless(values[number], events[number]):
                    events[number] = self.decode_any(values[number])
                found = find(text, ends[number]) if ends[number] < len(text) else -1
        return events

    def _is_harmless(self, value: bytes, event: Event) -> bool:
        """Say whether an odd record is all right: it nests, but neither deep nor strangely."""
        brackets = value.count(b"{") + value.count(b"[")
        inner = event.get(self.envelope) if self.envelope else None
        is_open = type(inner) is str and inner[:1] in _OPENING
        return brackets <= self.max_depth and not is_open and self._find_suspicious(value, 0) < 0

    def is_sound(self, names: tuple[str, ...]) -> bool:
        """Say whether Elasticsearch can hold fields by these names."""
        found = self._sound.get(names)
        return self._learn(names) if found is None else found

    def decode_any(self, value: bytes) -> Event | Failure:
        """Decode one record with every check; a failure says what is wrong with it."""
        try:
            return self.decode_one(value)
        except Failure as failure:
            return failure
        except (ValueError, TypeError, RecursionError) as error:
            return Failure(f"not JSON: {error}", "NotJson")

    def decode_one(self, value: bytes) -> Event:
        """Decode a record with every check. Raises Failure and JSONDecodeError."""
        if len(value) > self.max_bytes:
            raise Failure(f"larger than {self.max_bytes} bytes", "TooLarge")
        event = self.decode_object(value)
        inner = event.get(self.envelope) if self.envelope else None
        if type(inner) is str and inner[:1] in _OPENING and is_object(inner):
            opened = self.decode_object(inner.encode())
            event = {key: event[key] for key in event if key != self.envelope} | opened
        return event

    def decode_object(self, value: bytes) -> Event:
        """Decode one JSON object with every check but that of its size, as `decode_one` does."""
        if value.count(b"{") + value.count(b"[") > self.max_depth:
            check_depth(value, self.max_depth)
        parsed = orjson.loads(value) if self._find_suspicious(value, 0) < 0 else self.parse(value)
        if type(parsed) is not dict:
            raise Failure("JSON, but not an object", "NotAnObject")
        event: Event = parsed
        return event

    def parse(self, value: bytes) -> Any:
        """Parse with care: check every key, keep integers outside 64 bits as text.

        Raises Failure, and JSONDecodeError as orjson does.
        """
        long_integers = 0

        def parse_int(digits: str) -> int | str:
            nonlocal long_integers
            if len(digits) < 19 or (len(digits) <= 20 and int(digits) in _INT64):
                return int(digits)
            long_integers += 1
            return digits

        if _LONG_DIGITS.search(value):
            text = value.decode()  # bytes of their own would be guessed at, and a BOM accepted
            parsed = json.loads(
                text, parse_int=parse_int, parse_float=_finite, parse_constant=_refuse
            )
            orjson.dumps(parsed)  # refuses what orjson.loads would: lone surrogates
        else:
            parsed = orjson.loads(value)
        check_keys(parsed)
        if long_integers and type(parsed) is dict:
            reason = f"{long_integers} integer(s) outside 64 bits kept as text"
            note_failure(parsed, self.name, reason)
        return parsed


def _refuse(constant: str) -> None:
    raise Failure(f"not JSON: {constant}", "NotJson")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Failure(f"not JSON: {digits[:20]} is beyond a double", "NotJson")
    return number


def is_object(text: str) -> bool:
    """Say whether a text is one JSON object; of one nested too deep to tell, say yes."""
    try:
        return type(orjson.loads(text)) is dict
    except orjson.JSONDecodeError as error:
        return "limit" in str(error) and text.lstrip(" \t\r\n")[:1] == "{"


def check_depth(value: bytes, limit: int) -> None:
    """Raise `Failure` where brackets outside texts nest deeper than the limit."""
    depth = 0
    for bracket in _TEXT.sub(b"", value).translate(None, _NO_BRACKET):
        if bracket in b"[{":
            depth += 1
            if depth > limit:
                raise Failure(f"nested deeper than {limit}", "TooDeep")
        else:
            depth -= 1


def is_bad(key: str) -> bool:
    """Say whether a key is empty, holds NUL, or has dots at an end or next to each other."""
    return not key or key[0] == "." or key[-1] == "." or ".." in key or "\x00" in key


def check_keys(value: Any) -> None:
    """Raise `Failure` for a key that Elasticsearch cannot hold."""
    if type(value) is list:
        for element in value:
            check_keys(element)
    elif type(value) is dict:
        for key, element in value.items():
            if is_bad(key):
                raise Failure(f"the key {key[:64]!r} cannot be indexed", "BadKey")
            check_keys(element)
