"""What a store sees of an event: whether its texts fit, its time, and its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from enricher import path
from enricher.functions import is_number, kind_of
from enricher.inline import define
from enricher.model import Event, Failure, Record
from enricher.moment import epoch_us
from enricher.state.spec import Value

MAX_ID = 256
"""Bytes of an event's id."""
MAX_VALUE = 512
"""Bytes of a value, as JSON, that is kept."""


def fitting(text: str, most: int, what: str) -> None:
    """See that a text may go into a store. Raises `Failure`."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Failure(f"the {what} is not UTF-8") from None
    if size > most:
        raise Failure(f"the {what} is longer than {most} bytes")


def time_reader(field: str, ahead_us: int) -> Callable[[Any, Record], int]:
    """Build the function that reads an event's time as microseconds. It raises `Failure`."""

    def time_of(value: Any, record: Record) -> int:
        if type(value) is not str:
            kind = "missing" if value is None else kind_of(value)
            raise Failure(f"{field} is {kind}: the event has no time")
        time_us = epoch_us(value)
        if time_us is None:
            raise Failure(f"{field} is no ISO 8601 time with an offset from 2000 to 2100")
        if record.timestamp is not None and time_us > 1000 * record.timestamp + ahead_us:
            raise Failure(f"{field} is too far ahead of the record's own time")
        return time_us

    return time_of


def values_reader(columns: Sequence[str]) -> Callable[[Event], tuple[Value, ...]]:
    """Build the function that gives what is kept of an event. It raises `Failure`."""
    parts = []
    for number, column in enumerate(columns):
        kind, _, field = column.partition(":")
        get, value = path.source_of_get(path.parse(field)), f"_value_{number}"
        if kind == "number":
            read = f"({value} if type({value}) is float else as_number({value}, {field!r}))"
        else:
            read = f"as_json({value}, {field!r})"
        parts.append(f"(None if ({value} := {get}) is None else {read}), ")
    return define(("event",), f"({''.join(parts)})", {"as_number": as_number, "as_json": as_json})


def as_number(value: Any, field: str) -> float:
    """Give a number as it is kept. Raises `Failure`."""
    if not is_number(value):
        raise Failure(f"{field} is {kind_of(value)}, not a number")
    return float(value)


def as_json(value: Any, field: str) -> str:
    """Give any value as it is kept. Raises `Failure`."""
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if len(text) > MAX_VALUE:
        raise Failure(f"{field} is longer than {MAX_VALUE} bytes")
    return text.decode()
