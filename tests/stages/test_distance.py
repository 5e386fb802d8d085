"""Distances against another formula, and what is no place."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.stages.distance import EARTH_KM, kilometres

from .running import event_of, plan_of

PLACES = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
DISTANCE = "distance: {from: a, to: b, target: km, from_time: t, to_time: s, speed: v}"


def vector(place: tuple[float, float]) -> tuple[float, float, float]:
    lat, lon = map(math.radians, place)
    return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)


@given(PLACES, PLACES)
def test_it_is_that_of_the_chord(one: tuple[float, float], other: tuple[float, float]) -> None:
    """To the metre, either way; also across the date line and the poles."""
    chord = min(2.0, math.dist(vector(one), vector(other)))
    assert kilometres(one, other) == pytest.approx(2 * EARTH_KM * math.asin(chord / 2), abs=0.2)
    assert kilometres(one, other) == kilometres(other, one) <= math.pi * EARTH_KM + 0.001


@pytest.mark.parametrize(
    ("start", "end", "km"),
    [
        ((0, 0), (0, 1), 111.195),
        ((0, 179.5), (0, -179.5), 111.195),
        ((90, 0), (90, 120), 0.0),
        ((0, 0), (0, 180), 20_015.115),
        ((51.5074, -0.1278), (40.7128, -74.006), 5_570.23),
    ],
)
def test_known_distances(start: Any, end: Any, km: float) -> None:
    assert kilometres(start, end) == pytest.approx(km, abs=0.01)


@pytest.mark.parametrize(
    "wrong", ["Mumbai", 5, [1, 2], {}, {"lat": 1}, {"lat": "1", "lon": 2}, {"lat": 91, "lon": 0},
              {"lat": 0, "lon": 180.1}, {"lat": True, "lon": 0}, {"lat": 1e308, "lon": -1e308}],
)  # fmt: skip
def test_what_is_no_place(wrong: Any) -> None:
    plan, fine = plan_of(DISTANCE), {"lat": 1, "lon": 2}
    for given_ in ({"a": wrong, "b": fine}, {"a": fine, "b": wrong}):
        event = event_of(plan, given_)
        assert event["tags"] == ["_distance_failure"]
        assert "km" not in event


@pytest.mark.parametrize(
    ("times", "speed"),
    [
        ({"t": "2025-10-20T10:00:00Z", "s": "2025-10-20T10:30:00Z"}, 222.39),
        ({"t": "2025-10-20T10:30:00Z", "s": "2025-10-20T15:30:00+05:30"}, 222.39),
        ({"t": "2025-10-20T10:00:00Z", "s": "2025-10-20T10:00:00Z"}, None),
        ({"t": "2025-10-20T10:00:00Z"}, None),
        ({"t": "yesterday", "s": 5}, None),
        ({"t": "2025-10-20T10:00:00Z", "s": "2025-10-20T11:00:00"}, None),
    ],
)
def test_the_speed(times: dict[str, Any], speed: float | None) -> None:
    """Whichever time comes first; without two of them there is none."""
    event = event_of(
        plan_of(DISTANCE), {"a": {"lat": 0, "lon": 0}, "b": {"lat": 0, "lon": 1}} | times
    )
    assert event["km"] == 111.195
    assert event.get("v") == speed
    assert "tags" not in event
