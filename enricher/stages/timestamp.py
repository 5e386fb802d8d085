"""Read the event's time and write it in one zone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from enricher import path
from enricher.functions import kind_of
from enricher.model import Event, Failure, Record
from enricher.moment import LAST, Converter, validate, zone
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage, note_failure


def _check_zone(name: str) -> str:
    zone(name)
    return name


Timezone = Annotated[
    str, AfterValidator(_check_zone), Field(description="An IANA name, such as Asia/Kolkata.")
]


class Timestamp(Stage):
    """Read an ISO 8601 time and write it in `timezone`, with the fraction that was given.

    A time without an offset is taken as `timezone`. Missing or unreadable: the record's own
    timestamp (the broker's; a file has none) is written, and the failure is tagged.
    """

    kind: ClassVar[str] = "timestamp"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "UTC becomes Indian time",
            "timestamp: {field: timestamp, timezone: Asia/Kolkata}",
            {"timestamp": "2025-10-20T10:15:30.123Z"},
            {
                "timestamp": "2025-10-20T10:15:30.123Z",
                "@timestamp": "2025-10-20T15:45:30.123+05:30",
            },
        ),
        Example(
            "an unreadable time of a file's record",
            "timestamp: {field: timestamp, timezone: Asia/Kolkata}",
            {"timestamp": "yesterday"},
            {
                "timestamp": "yesterday",
                "tags": ["_timestamp_failure"],
                "failures": {"timestamp": "timestamp is no ISO 8601 time"},
            },
        ),
    )
    field: FieldPath = "timestamp"
    target: FieldPath = "@timestamp"
    timezone: Timezone = "UTC"

    def compile(self, context: Context) -> EventFunction:  # noqa: ARG002
        """Build the function; the offset is worked out once a minute of event time."""
        get, put, remove = (
            path.getter(self.field),
            path.setter(self.target),
            path.remover(self.target),
        )
        converter = Converter(zone(self.timezone))
        convert, usual, field = converter.convert, converter.usual, self.field
        last, check = LAST, validate
        name, dead_letter = self.name or self.kind, self.on_error == "dead_letter"

        def reason_for(value: object) -> str:
            if value is None:
                return f"{field} is missing"
            return (
                f"{field} is no ISO 8601 time"
                if type(value) is str
                else f"{field} is {kind_of(value)}"
            )

        def fall_back(event: Event, record: Record, value: object) -> None:
            reason = reason_for(value)
            if dead_letter:
                raise Failure(reason)
            note_failure(event, name, reason)
            remove(event)
            if record.timestamp is not None:
                try:
                    put(event, converter.from_epoch_ms(record.timestamp))
                except OverflowError:
                    return

        def timestamp(event: Event, record: Record) -> None:
            value = get(event)
            try:
                known = usual(value) if type(value) is str else None
                if known is not None:  # written out: a call of `convert` costs as much again
                    check(value)
                    converted = f"{known[0]}{value[16:-1]}{known[1]}"
                    last[0], last[1] = converted, known[2]
                    put(event, converted)
                elif type(value) is str:
                    put(event, convert(value))
                else:
                    fall_back(event, record, value)
            except (ValueError, OverflowError):
                fall_back(event, record, value)

        return timestamp

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return [self.target]
