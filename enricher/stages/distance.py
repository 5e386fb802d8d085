"""Work out how far two places are from each other, and how fast one got there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic import Field, model_validator

from enricher import path
from enricher.functions import is_number, kind_of
from enricher.model import Event, Failure
from enricher.moment import epoch_us
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage

EARTH_KM = 6371.0088
"""The mean radius of the Earth (IUGG)."""
_HOUR_US = 3_600_000_000


class Distance(Stage):
    """Write the great-circle distance between two places in km, and the speed in km/h.

    A place is `{lat, lon}` in degrees, as `geoip` writes it. Where one is missing nothing is
    written; a place that is none is a failure. Without two different times there is no speed.
    """

    kind: ClassVar[str] = "distance"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "from Mumbai to Delhi in half an hour",
            "distance: {from: before, to: place, target: km, from_time: seen_before, "
            "to_time: seen, speed: km_h}",
            {
                "before": {"lat": 19.0728, "lon": 72.8826},
                "place": {"lat": 28.6542, "lon": 77.2373},
                "seen_before": "2025-10-20T10:00:00Z",
                "seen": "2025-10-20T16:00:00+05:30",
            },
            {
                "before": {"lat": 19.0728, "lon": 72.8826},
                "place": {"lat": 28.6542, "lon": 77.2373},
                "seen_before": "2025-10-20T10:00:00Z",
                "seen": "2025-10-20T16:00:00+05:30",
                "km": 1153.447,
                "km_h": 2306.894,
            },
        ),
        Example(
            "no earlier place",
            "distance: {from: before, to: place, target: km}",
            {"place": {"lat": 28.6542, "lon": 77.2373}},
            {"place": {"lat": 28.6542, "lon": 77.2373}},
        ),
    )
    start: FieldPath = Field(alias="from", description="A place, `{lat, lon}`.")
    end: FieldPath = Field(alias="to", description="The other place.")
    target: FieldPath = Field(description="Gets the km, to the metre.")
    from_time: FieldPath | None = Field(default=None, description="When it was at the one place.")
    to_time: FieldPath | None = Field(default=None, description="When at the other.")
    speed: FieldPath | None = Field(default=None, description="Gets the km/h that it took.")

    @model_validator(mode="after")
    def _is_whole(self) -> Distance:
        given = {self.from_time is None, self.to_time is None, self.speed is None}
        if len(given) > 1:
            raise ValueError("a speed needs all three: from_time, to_time and speed")
        return self

    def compile(self, context: Context) -> EventFunction:  # noqa: ARG002
        """Build the function."""
        get_start, get_end = path.getter(self.start), path.getter(self.end)
        put = path.setter(self.target)
        from_field, to_field, measure, speed_of = self.start, self.end, kilometres, speed
        read_place, has_speed = place, self.speed is not None
        get_from = path.getter(self.from_time or self.start)
        get_to = path.getter(self.to_time or self.end)
        put_speed = path.setter(self.speed or self.target)

        def distance(event: Event) -> None:
            begin, end = get_start(event), get_end(event)
            if begin is None or end is None:
                return
            start = read_place(begin, from_field)
            far = 0.0 if begin == end else measure(start, read_place(end, to_field))
            put(event, far)
            if has_speed:
                fast = speed_of(far, get_from(event), get_to(event))
                if fast is not None:
                    put_speed(event, fast)

        return distance

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return [self.target, *filter(None, [self.speed])]


def place(value: Any, field: str) -> tuple[float, float]:
    """Read latitude and longitude in degrees. Raises `Failure`."""
    if type(value) is not dict:
        raise Failure(f"{field} is {kind_of(value)}, not {{lat, lon}}")
    lat: Any = value.get("lat")
    lon: Any = value.get("lon")
    are_numbers = type(lat) is type(lon) is float or (is_number(lat) and is_number(lon))
    if not (are_numbers and -90 <= lat <= 90 and -180 <= lon <= 180):
        raise Failure(f"{field} is no {{lat, lon}} in degrees")
    return lat, lon


def kilometres(start: tuple[float, float], end: tuple[float, float]) -> float:
    """Give the great-circle distance by the haversine formula, to the metre."""
    lat, lon, other_lat, other_lon = map(math.radians, (*start, *end))
    across = math.sin((other_lat - lat) / 2) ** 2
    along = math.cos(lat) * math.cos(other_lat) * math.sin((other_lon - lon) / 2) ** 2
    return round(2 * EARTH_KM * math.asin(math.sqrt(min(1.0, across + along))), 3)


def speed(km: float, start: Any, end: Any) -> float | None:
    """Give the km/h between two times; None where they are not known, or the same."""
    begin_us = epoch_us(start) if type(start) is str else None
    end_us = epoch_us(end) if type(end) is str else None
    if begin_us is None or end_us is None or begin_us == end_us:
        return None
    return round(km * _HOUR_US / abs(end_us - begin_us), 3)
