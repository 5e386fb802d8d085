"""The promises of a store of states in the fewest words: every event is answered from all before it."""

from __future__ import annotations

from typing import Any

import orjson

from enricher.state.spec import TOO_LATE, Measure, Sighting, Spec


class Naive:
    """Keeps every event that was ever accepted; forgets by the rules, and sorts each time."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Sighting]] = {}
        self.answers: dict[tuple[str, str], dict[str, Any]] = {}
        self.newest: dict[str, int] = {}
        self.floor: dict[str, tuple[int, str]] = {}

    def see(self, spec: Spec, one: Sighting) -> Any:
        kept = self.kept.setdefault(one.key, [])
        place, newest = (one.time_us, one.id), self.newest.get(one.key, 0)
        if any(other.id == one.id for other in kept):
            return self.answers[one.key, one.id]
        room = sorted([*kept, one], key=lambda other: (other.time_us, other.id))
        is_full = len(kept) >= spec.max_events and room[0] is one
        is_late = one.time_us <= newest - spec.lateness_us
        if is_late or is_full or place <= self.floor.get(one.key, (0, "")):
            return TOO_LATE
        newest = self.newest[one.key] = max(newest, one.time_us)
        room = [other for other in room if other.time_us > newest - spec.retention_us]
        for other in room[: -spec.max_events]:
            self.floor[one.key] = (other.time_us, other.id)
        room = self.kept[one.key] = room[-spec.max_events :]
        before = room[: room.index(one)]
        answer = {m.target: measured(spec, m, one, before) for m in spec.measures}
        answer = {target: value for target, value in answer.items() if value is not None}
        self.answers[one.key, one.id] = answer
        return answer


def measured(spec: Spec, measure: Measure, one: Sighting, before: list[Sighting]) -> Any:
    seen = before if measure.before else [*before, one]
    if measure.within_us is not None:
        seen = [other for other in seen if other.time_us > one.time_us - measure.within_us]
    rows = [tuple(s.values[spec.columns.index(name)] for name in measure.of) for s in seen]
    rows = [row for row in rows if None not in row]
    rows = rows[-measure.last :] if measure.last else rows
    values: Any = [row[0] for row in rows if row]
    if len(rows) < measure.at_least:
        return None
    if measure.kind in ("count", "distinct"):
        return len(rows) if measure.kind == "count" else len(set(values))
    if measure.kind == "previous":
        return orjson.loads(values[-1]) if values else None
    total = 0.0
    for value in values:
        total += value
    return orjson.loads("%.17g" % (total if measure.kind == "sum" else total / len(values)))
