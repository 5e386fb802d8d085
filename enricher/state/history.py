"""The events of one key, in their order: the embedded twin of `see.lua`."""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import reduce
from operator import add

import orjson

from enricher.state.spec import TOO_LATE, Answer, Measure, Sighting, Spec, Value

EXACT = 1e17
"""A whole number below is written without an exponent, and read back as an integer."""


class History:
    """What is kept of one key."""

    __slots__ = ("_names", "answers", "columns", "floor", "ids", "newest_us", "times")

    def __init__(self) -> None:
        self.times: list[int] = []
        """Microseconds since the epoch, rising; of one time the ids rise."""
        self.ids: list[str] = []
        self.columns: dict[str, list[Value]] = {}
        self.answers: dict[str, Answer] = {}
        """The first answer, by id."""
        self.newest_us = 0
        self.floor = (0, "")
        """Time and id of the last event that had to make room."""
        self._names: tuple[str, ...] = ()
        """Of the columns."""

    def see(self, spec: Spec, one: Sighting) -> Answer:
        """Answer an event, and remember it where it is new."""
        known = self.answers.get(one.id)
        if known is not None:
            return known
        _, id_, time_us, values = one
        if time_us <= self.newest_us - spec.lateness_us or (time_us, id_) <= self.floor:
            return TOO_LATE
        if time_us > self.newest_us:
            self.newest_us = time_us
            self._forget(bisect_right(self.times, time_us - spec.retention_us))
        place = self._place(time_us, id_)
        surplus = len(self.times) + 1 - spec.max_events
        if surplus > place:
            return TOO_LATE
        if surplus > 0:
            self.floor = (self.times[surplus - 1], self.ids[surplus - 1])
            self._forget(surplus)
            place -= surplus
        if spec.columns != self._names:
            self._keep(spec.columns)
        self.times.insert(place, time_us)
        self.ids.insert(place, id_)
        for name, value in zip(spec.columns, values, strict=True):
            self.columns[name].insert(place, value)
        answer = self.answers[id_] = self._answer(spec, place, time_us)
        return answer

    def _place(self, time_us: int, id_: str) -> int:
        """Give how many events come before one."""
        times, ids = self.times, self.ids
        place = len(times)
        if place and times[-1] > time_us:
            place = bisect_right(times, time_us)
        while place and times[place - 1] == time_us and ids[place - 1] > id_:
            place -= 1
        return place

    def _forget(self, count: int) -> None:
        """Forget the first so many events."""
        if count:
            for id_ in self.ids[:count]:
                del self.answers[id_]
            del self.times[:count], self.ids[:count]
            for column in self.columns.values():
                del column[:count]

    def _keep(self, names: tuple[str, ...]) -> None:
        """Keep other columns from now on; what was not kept of an event is not known."""
        size = len(self.times)
        self.columns = {name: self.columns.get(name) or [None] * size for name in names}
        self._names = names

    def _answer(self, spec: Spec, place: int, time_us: int) -> Answer:
        answer = {}
        for measure in spec.measures:
            upper = place if measure.before else place + 1
            lower = 0
            if measure.within_us is not None:
                lower = bisect_right(self.times, time_us - measure.within_us, 0, upper)
            value = self._measure(measure, lower, upper)
            if value is not None:
                answer[measure.target] = value
        return answer

    def _measure(self, measure: Measure, lower: int, upper: int) -> object:
        if not measure.of:
            count = upper - lower
            return count if count >= measure.at_least else None
        values = self._values(measure, lower, upper)
        if len(values) < measure.at_least:
            return None
        if measure.kind == "count":
            return len(values)
        if measure.kind == "distinct":
            return len(set(values))
        if measure.kind == "previous":
            return orjson.loads(str(values[0])) if values else None
        total: float = reduce(add, values, 0.0)  # one by one, as Lua does
        return number(total if measure.kind == "sum" else total / len(values))

    def _values(self, measure: Measure, lower: int, upper: int) -> list[Value]:
        """Give the values that there are, of the last so many where that is wanted."""
        columns = [self.columns[name] for name in measure.of]
        last = measure.last
        if last is not None and upper - lower > last:  # nearly always the last few have all of it
            found = _whole(columns, upper - last, upper)
            if len(found) == last:
                return found
        found = _whole(columns, lower, upper)
        return found if last is None else found[-last:]


def _whole(columns: list[list[Value]], lower: int, upper: int) -> list[Value]:
    """Give the first column's values of the events that have all columns."""
    values, *others = [column[lower:upper] for column in columns]
    if not others:
        return [value for value in values if value is not None] if None in values else values
    rows = zip(values, *others, strict=True)
    return [row[0] for row in rows if None not in row]


def number(value: float) -> int | float | None:
    """Write a whole number as one; None for what is no number at all."""
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < EXACT else value
