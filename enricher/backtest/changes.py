"""What another pipeline file would change, event by event."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence

import orjson

from enricher.backtest.order import Entry
from enricher.backtest.result import AgainstResult, Changed, LevelMove
from enricher.backtest.rules import Rules
from enricher.inline_tests import ABSENT, Difference, describe, is_same, kind_of
from enricher.model import Document, Outcome

EXAMPLES = 5
NOT_SCORED = "not scored"
COUNTED = {"outcomes": "outcome", "indices": "index", "alerts": "alerts", "outputs": "outputs"}
"""What is counted, and where the paths of its differences begin."""
MOST_FIELDS = 100
"""Names of fields that are counted apart: who makes names up is not followed for ever."""
OTHER_FIELDS = "other fields"


class Changes:
    """Compares what two pipelines make of the same events, and counts.

    Args:
        old: as it is.
        new: as it would be.
    """

    def __init__(self, old: Rules, new: Rules) -> None:
        self.changed = 0
        self._old, self._new = old, new
        self._counts: Counter[str] = Counter()
        self._fields: Counter[str] = Counter()
        self._new_alerts: Counter[str] = Counter()
        self._lost_alerts: Counter[str] = Counter()
        self._new_outputs: Counter[str] = Counter()
        self._lost_outputs: Counter[str] = Counter()
        self._names = tuple(dict.fromkeys([*old.scorings, *new.scorings]))
        self._moves: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in self._names}
        self._largest: list[tuple[float, int, Changed]] = []

    def add(
        self, entries: Sequence[Entry], old: Sequence[Outcome], new: Sequence[Outcome]
    ) -> list[Changed]:
        """Compare the outcomes of a batch; give the events that changed."""
        found = []
        for entry, one, other in zip(entries, old, new, strict=True):
            scores = self._moved(entry.record.position)
            differences = () if is_equal(one, other) else tuple(differ(one, other))
            if scores or differences:
                record = entry.record
                changed = Changed(record.id, entry.label, record.timestamp, scores, differences)
                self._count(changed, one, other)
                found.append(changed)
        return found

    def _moved(self, position: int) -> dict[str, tuple[float | None, float | None]]:
        """Count the levels of an event, and give the scores that differ."""
        moved = {}
        for name in self._names:
            old, new = self._old.score_of(name, position), self._new.score_of(name, position)
            levels = self._old.level_name(name, old), self._new.level_name(name, new)
            self._moves[name][levels[0] or NOT_SCORED, levels[1] or NOT_SCORED] += 1
            self._counts["levels"] += levels[0] != levels[1]
            if old != new:
                moved[name] = old, new
        return moved

    def _count(self, changed: Changed, old: Outcome, new: Outcome) -> None:
        self.changed += 1
        paths = {difference.path for difference in changed.differences}
        roots = {path.partition(".")[0] for path in paths}
        for name, root in COUNTED.items():
            self._counts[name] += root in roots
        self._counts["scores"] += bool(changed.scores)
        for field in {path.split(".")[1] for path in paths if path.startswith("event.")}:
            known = field in self._fields or len(self._fields) < MOST_FIELDS
            self._fields[field if known else OTHER_FIELDS] += 1
        for gone, came, names in (
            (self._lost_alerts, self._new_alerts, alerts_of),
            (self._lost_outputs, self._new_outputs, outputs_of),
        ):
            before, after = Counter(list(names(old))), Counter(list(names(new)))
            came.update(after - before)
            gone.update(before - after)
        size = max((abs((b or 0) - (a or 0)) for a, b in changed.scores.values()), default=0.0)
        entry = (size, -self.changed, changed)
        if len(self._largest) < EXAMPLES:
            heapq.heappush(self._largest, entry)
        elif entry[:2] > self._largest[0][:2]:
            heapq.heapreplace(self._largest, entry)

    def result(self, file: str, events: int) -> AgainstResult:
        """Say what changes."""
        moves = {name: self._ordered(name, counts) for name, counts in self._moves.items()}
        return AgainstResult(
            file=file,
            changed=self.changed,
            share=self.changed / events if events else 0.0,
            scores=self._counts["scores"],
            levels=self._counts["levels"],
            **{name: self._counts[name] for name in COUNTED},
            fields=dict(self._fields.most_common()),
            new_alerts=dict(sorted(self._new_alerts.items())),
            lost_alerts=dict(sorted(self._lost_alerts.items())),
            new_outputs=dict(sorted(self._new_outputs.items())),
            lost_outputs=dict(sorted(self._lost_outputs.items())),
            moves=moves,
            examples=tuple(entry[2] for entry in sorted(self._largest, reverse=True)),
        )

    def _ordered(self, name: str, counts: Counter[tuple[str, str]]) -> tuple[LevelMove, ...]:
        """Give the moves between the levels of a stage, from the highest down."""
        names = [*self._old.levels.get(name, ()), *self._new.levels.get(name, ()), NOT_SCORED]
        pairs = sorted(counts, key=lambda pair: (names.index(pair[0]), names.index(pair[1])))
        return tuple(LevelMove(*pair, counts[pair]) for pair in pairs)


def is_equal(old: Outcome, new: Outcome) -> bool:
    """Say whether two outcomes are the same to the byte; most are, and it costs little."""
    if type(old) is Document and type(new) is Document:
        return (
            old.body == new.body
            and old[2:5] == new[2:5]  # index, id, version
            and (old.alerts == new.alerts or alerts_of(old) == alerts_of(new))
            and old.outputs == new.outputs
        )
    return old == new


def differ(old: Outcome, new: Outcome) -> Iterator[Difference]:
    """Yield what is otherwise in what became of one event."""
    if type(old) is not Document or type(new) is not Document:
        if kind_of(old) != kind_of(new) or describe(old) != describe(new):
            yield Difference("outcome", describe(old), describe(new))
        return
    for name, before, after in (
        ("index", old.index, new.index),
        ("id", old.id, new.id),
        ("alerts", alerts_of(old), alerts_of(new)),
    ):
        if before != after:
            yield Difference(name, before, after)
    yield from differ_in("outputs", outputs_of(old), outputs_of(new))
    yield from differ_in("event", orjson.loads(old.body), orjson.loads(new.body))


def differ_in(where: str, old: object, new: object) -> Iterator[Difference]:
    """Yield what is otherwise in a value, by its path."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from differ_in(f"{where}.{key}", old.get(key, ABSENT), new.get(key, ABSENT))
    elif old is not new and not is_same(old, new):
        yield Difference(where, old, new)


def alerts_of(outcome: Outcome) -> list[str]:
    """Name the alerts of an outcome."""
    return [alert.name for alert in outcome.alerts] if type(outcome) is Document else []


def outputs_of(outcome: Outcome) -> dict[str, dict[str, object]]:
    """Give the outputs of an outcome by name: where they go, their key and what they hold."""
    outputs = outcome.outputs if type(outcome) is Document else ()
    return {
        one.to.name: {"to": one.to._asdict(), "key": one.key, "body": orjson.loads(one.body)}
        for one in outputs
    }
