"""The events of one key, in their order: the embedded twin of `see.lua`."""

from __future__ import annotations

from array import array
from bisect import bisect_right

from enricher.state.measures import Column, Kept, answer_of, compile_observe, empty
from enricher.state.spec import TOO_LATE, Answer, Sighting, Spec


class Memory:
    """What one stage remembers and measures: a spec, made ready."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.columns, self.max_events = spec, spec.columns, spec.max_events
        self.observe = compile_observe(spec)
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
        self.columns: list[Column] = [empty(name, 0) for name in names]
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
            return answer_of(known)
        if time_us <= self.newest_us - memory.lateness_us or (time_us, id_) <= self.floor:
            return TOO_LATE
        if memory.columns is not self.names:
            self._keep(memory.columns)
        times = self.times
        if time_us > self.newest_us:
            self.newest_us = time_us
            oldest = time_us - memory.retention_us
            if times and times[0] <= oldest:
                self._forget(bisect_right(times, oldest))
        place = len(times)
        if place and times[-1] >= time_us:
            place = self._place(time_us, id_)
        surplus = len(times) + 1 - memory.max_events
        if surplus > place:
            return TOO_LATE
        if surplus > 0:
            self.floor = (times[surplus - 1], self.ids[surplus - 1])
            self._forget(surplus)
            place -= surplus
        times.insert(place, time_us)
        self.ids.insert(place, id_)
        self.answers[id_], answer = memory.observe(times, self.columns, values, place, time_us)
        return answer

    def _place(self, time_us: int, id_: str) -> int:
        """Give how many events come before one."""
        times, ids = self.times, self.ids
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
        self.columns = [held.get(name) or empty(name, len(self.times)) for name in names]
        self.names = names
