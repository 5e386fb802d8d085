"""The events of one key, in their order: the embedded twin of `see.lua`."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Any

import orjson

from enricher.state.measures import Column, compile_measure
from enricher.state.spec import TOO_LATE, Answer, Sighting, Spec

Form = tuple[tuple[str, bool], ...]
"""Fields of an answer, and whether JSON is kept of them."""
Kept = tuple[Any, ...]
"""An answer as it is kept: its form, and a value for each field. Beside a dict it takes a third."""


class Memory:
    """What one stage remembers and measures: a spec, made ready."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.form: Form = tuple((one.target, one.kind == "previous") for one in spec.measures)
        self.measured = [
            (one.target, is_json, compile_measure(one, spec))
            for one, (_, is_json) in zip(spec.measures, self.form, strict=True)
        ]
        self.retention_us, self.lateness_us = spec.retention_us, spec.lateness_us


class History:
    """What is kept of one key."""

    __slots__ = ("answers", "columns", "floor", "ids", "names", "newest_us", "times")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.times: array[int] = array("q")
        """Microseconds since the epoch, rising; of one time the ids rise."""
        self.ids: list[str] = []
        self.names = names
        """Of the columns."""
        self.columns: list[Column] = [[] for _ in names]
        self.answers: dict[str, Kept] = {}
        """The first answer, by id."""
        self.newest_us = 0
        self.floor = (0, "")
        """Time and id of the last event that had to make room."""

    def see(self, memory: Memory, one: Sighting) -> Answer:
        """Answer an event, and remember it where it is new."""
        _, id_, time_us, values = one
        known = self.answers.get(id_)
        if known is not None:
            return _answer(known)
        if time_us <= self.newest_us - memory.lateness_us or (time_us, id_) <= self.floor:
            return TOO_LATE
        if memory.spec.columns != self.names:
            self._keep(memory.spec.columns)
        times = self.times
        if time_us > self.newest_us:
            self.newest_us = time_us
            oldest = time_us - memory.retention_us
            if times and times[0] <= oldest:
                self._forget(bisect_right(times, oldest))
        place = self._place(time_us, id_)
        surplus = len(times) + 1 - memory.spec.max_events
        if surplus > place:
            return TOO_LATE
        if surplus > 0:
            self.floor = (times[surplus - 1], self.ids[surplus - 1])
            self._forget(surplus)
            place -= surplus
        columns = self.columns
        times.insert(place, time_us)
        self.ids.insert(place, id_)
        for column, value in zip(columns, values, strict=True):
            # A text that is the same as before, as of a place, is kept once.
            same = place > 0 and column[place - 1] == value
            column.insert(place, column[place - 1] if same else value)
        answer: dict[str, Any] = {}
        kept: list[Any] = [memory.form]
        for target, is_json, measured in memory.measured:
            found = measured(times, columns, place, time_us)
            kept.append(found)
            if found is not None:
                answer[target] = orjson.loads(found) if is_json else found
        self.answers[id_] = tuple(kept)
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
        for id_ in self.ids[:count]:
            del self.answers[id_]
        del self.times[:count], self.ids[:count]
        for column in self.columns:
            del column[:count]

    def _keep(self, names: tuple[str, ...]) -> None:
        """Keep other columns from now on; what was not kept of an event is not known."""
        held = dict(zip(self.names, self.columns, strict=True))
        self.columns = [held.get(name, [None] * len(self.times)) for name in names]
        self.names = names


def _answer(kept: Kept) -> Answer:
    found = zip(kept[0], kept[1:], strict=True)
    return {
        target: orjson.loads(value) if is_json else value
        for (target, is_json), value in found
        if value is not None
    }
