"""What is measured over the events of one key: one function for each field that is written."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

from enricher.state.spec import Measure, Spec, Value

Column = list[Value]
Measured = Callable[[Sequence[int], list[Column], int, int], Any]
"""From times, columns, the place of the present event and its time; None: nothing is written.
What is `previous` is JSON."""
EXACT = 1e17
"""A whole number below is written without an exponent, and read back as an integer."""


def compile_measure(measure: Measure, spec: Spec) -> Measured:
    """Build the function that measures; it does what `measured` of `see.lua` does."""
    ahead, within_us, at_least = 0 if measure.before else 1, measure.within_us, measure.at_least
    values_of = _values(measure, spec)
    sum_up = _SUMS.get(measure.kind, len)

    def measured(times: Sequence[int], columns: list[Column], place: int, time_us: int) -> Any:
        upper = place + ahead
        lower = 0 if within_us is None else bisect_right(times, time_us - within_us, 0, upper)
        values = values_of(columns, lower, upper)
        return None if len(values) < at_least else sum_up(values)

    def counted(times: Sequence[int], _columns: list[Column], place: int, time_us: int) -> Any:
        upper = place + ahead
        if within_us is not None:
            upper -= bisect_right(times, time_us - within_us, 0, upper)
        return None if upper < at_least else upper

    if measure.kind == "previous":
        return _previous(measure, spec)
    return measured if measure.of else counted


def _previous(measure: Measure, spec: Spec) -> Measured:
    """Build the function that gives the last value as JSON, looking back from the present event."""
    first, having = (spec.columns.index(name) for name in (measure.of[0], measure.of[-1]))
    within_us = measure.within_us

    def previous(times: Sequence[int], columns: list[Column], place: int, time_us: int) -> Any:
        lower = 0 if within_us is None else bisect_right(times, time_us - within_us, 0, place)
        values, others = columns[first], columns[having]
        for at in range(place - 1, lower - 1, -1):
            if values[at] is not None and others[at] is not None:
                return values[at]
        return None

    return previous


def _values(measure: Measure, spec: Spec) -> Callable[[list[Column], int, int], Column]:
    """Build the function that gives the values that there are, of the last so many."""
    first, *others = [spec.columns.index(name) for name in measure.of] or [0]
    last = measure.last

    def whole(columns: list[Column], lower: int, upper: int) -> Column:
        values = columns[first][lower:upper]
        if others:
            rows = zip(values, *[columns[other][lower:upper] for other in others], strict=True)
            return [row[0] for row in rows if None not in row]
        return [value for value in values if value is not None] if None in values else values

    def latest(columns: list[Column], lower: int, upper: int) -> Column:
        nearest = max(lower, upper - last)  # type: ignore[operator]
        found = whole(columns, nearest, upper)
        if len(found) == upper - nearest:  # as nearly always: these have all of it
            return found
        return whole(columns, lower, upper)[-last:]  # type: ignore[operator]

    return whole if last is None else latest


def _sum(values: Column) -> float:
    return reduce(add, values, 0.0)


def number(value: float) -> int | float | None:
    """Write a whole number as one; None for what is no number at all."""
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < EXACT else value


_SUMS: dict[str, Callable[[Column], Any]] = {
    "count": len,
    "distinct": lambda values: len(set(values)),
    "sum": lambda values: number(_sum(values)),
    "mean": lambda values: number(_sum(values) / len(values)),
}
