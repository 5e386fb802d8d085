"""Name the part of the day."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic import BaseModel, Field, field_validator, model_validator

from enricher import path
from enricher.connections import STRICT
from enricher.model import Event, Failure
from enricher.moment import LAST, moment
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage

_HOURS = re.compile(r"([0-9]{1,2})-([0-9]{1,2})")


class Hours(BaseModel):
    """What is written in some hours of the day."""

    model_config = STRICT
    hours: str = Field(description="First and last hour, such as `9-21` or `22-5`; both count.")
    set: dict[FieldPath, Any] = Field(description="Fields and the values they get.")

    @field_validator("hours")
    @classmethod
    def _check(cls, text: str) -> str:
        found = _HOURS.fullmatch(text)
        if not found or max(int(found[1]), int(found[2])) > 23:
            raise ValueError(f'"{text}" are no hours: write 9-21, or 22-5 over midnight')
        return text

    def all(self) -> list[int]:
        """Give every hour in the span."""
        first, last = map(int, self.hours.split("-"))
        return [(first + step) % 24 for step in range((last - first) % 24 + 1)]


class TimeOfDay(Stage):
    """Write labels by the hour of a time, as it stands in the time's own zone.

    `field` is an ISO 8601 time with an offset, as the `timestamp` stage writes it.
    """

    kind: ClassVar[str] = "time_of_day"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "night goes over midnight",
            """time_of_day:
  parts:
    - {hours: 6-21, set: {part: day}}
    - {hours: 22-5, set: {part: night}}""",
            {"@timestamp": "2025-10-20T05:59:59+05:30"},
            {"@timestamp": "2025-10-20T05:59:59+05:30", "part": "night"},
        ),
    )
    field: FieldPath = "@timestamp"
    parts: list[Hours] = Field(
        min_length=1, description="Parts of the day; no hour is in two, one in none writes nothing."
    )

    @model_validator(mode="after")
    def _no_overlap(self) -> TimeOfDay:
        hours = [hour for part in self.parts for hour in part.all()]
        twice = sorted({hour for hour in hours if hours.count(hour) > 1})
        if twice:
            raise ValueError(f"hour {twice[0]} is in two parts")
        return self

    def compile(self, context: Context) -> EventFunction:  # noqa: ARG002
        """Lay the hours out in a table and build the function."""
        get, field, last, read = path.getter(self.field), self.field, LAST, moment
        table: list[dict[str, Any]] = [{} for _ in range(24)]
        for part in self.parts:
            for hour in part.all():
                table[hour] = part.set
        write = path.chooser(table)

        def time_of_day(event: Event) -> None:
            value = get(event)
            if value is None:
                return
            time = last[1] if value is last[0] else read(value)
            if time is None:
                raise Failure(f"{field} is no ISO 8601 time with an offset")
            write(event, time.hour)

        return time_of_day

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return [field for part in self.parts for field in part.set]
