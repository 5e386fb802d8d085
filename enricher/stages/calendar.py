"""Name the season by the calendar."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from enricher import path
from enricher.model import Event, Failure
from enricher.moment import LAST, moment
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage

LEAP_YEAR = 2024


def _month_day(text: str) -> int:
    day = date.fromisoformat(f"{LEAP_YEAR}-{text}")
    return day.month * 100 + day.day


class Period(BaseModel):
    """A range of days that comes every year; it may wrap the year's end."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    first: str = Field(alias="from", description="First day, `MM-DD`.")
    last: str = Field(alias="to", description="Last day, `MM-DD`; it counts.")
    set: dict[FieldPath, Any] = Field(description="Fields and the values they get.")

    @field_validator("first", "last")
    @classmethod
    def _check(cls, text: str) -> str:
        try:
            _month_day(text)
        except ValueError:
            raise ValueError(f'"{text}" is no day: write MM-DD, such as 10-15') from None
        return text

    def contains(self, month_day: int) -> bool:
        """Say whether a day (month * 100 + day) lies in the period."""
        first, last = _month_day(self.first), _month_day(self.last)
        if first <= last:
            return first <= month_day <= last
        return month_day >= first or month_day <= last


class Calendar(Stage):
    """Write labels by the month and day of a time, in its own zone; the first match wins."""

    kind: ClassVar[str] = "calendar"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "a period over New Year",
            """calendar:
  periods:
    - {from: 12-25, to: 01-05, set: {season: new_year}}
  otherwise: {season: none}""",
            {"@timestamp": "2026-01-05T23:59:59+05:30"},
            {"@timestamp": "2026-01-05T23:59:59+05:30", "season": "new_year"},
        ),
    )
    field: FieldPath = "@timestamp"
    periods: list[Period] = Field(
        min_length=1, description="Where two hold the same day, the first counts."
    )
    otherwise: dict[FieldPath, Any] = Field(default_factory=dict, description="Outside them all.")

    def compile(self, context: Context) -> EventFunction:  # noqa: ARG002
        """Lay the year out in a table and build the function."""
        get, field, last, read = path.getter(self.field), self.field, LAST, moment
        days = {
            month * 100 + day: next(
                (p.set for p in self.periods if p.contains(month * 100 + day)), self.otherwise
            )
            for month in range(1, 13)
            for day in range(1, 32)
        }
        write = path.chooser(days)

        def calendar(event: Event) -> None:
            value = get(event)
            if value is None:
                return
            time = last[1] if value is last[0] else read(value)
            if time is None:
                raise Failure(f"{field} is no ISO 8601 time with an offset")
            write(event, time.month_day)

        return calendar

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return [*self.otherwise, *(field for one in self.periods for field in one.set)]
