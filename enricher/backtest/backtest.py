"""Run history through one pipeline, or through two to compare them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from enricher.backtest.changes import Changes
from enricher.backtest.history import History
from enricher.backtest.labels import Labels
from enricher.backtest.order import Entry
from enricher.backtest.result import Changed, LabelResult, Result
from enricher.backtest.rules import Rules
from enricher.config import PipelineConfig
from enricher.lookups.store import Lookups
from enricher.model import Document
from enricher.tally import Tally

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Backtest:
    """Takes history batch by batch; no network, nobody is told of anything.

    Memory grows with what the stages keep, with the labels that say fraud, and with the number of
    cases that `Scoring` tells apart: not with the number of events.

    Args:
        config: of the pipeline.
        lookups: stands in for its Redis; nobody is known without.
        labels: what was fraud.
        against: another pipeline file, to say what it would change.
    """

    def __init__(
        self,
        config: PipelineConfig,
        lookups: Lookups | None = None,
        labels: Labels | None = None,
        against: PipelineConfig | None = None,
    ) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.config, self.labels, self.against = config, labels, against
        self.rules = Rules(config, lookups, now)
        self.tally = Tally()
        self._frauds = labels.frauds if labels else frozenset()
        self._others = Rules(in_its_place(against, config), lookups, now) if against else None
        self._changes = Changes(self.rules, self._others) if self._others else None
        self._outputs: Counter[str] = Counter()  # the tally counts those that a sink took
        self._first: int | None = None
        self._last: int | None = None

    async def add(self, entries: Sequence[Entry]) -> list[Changed]:
        """Process and count a batch; give the events that the other pipeline changes."""
        outcomes = await self.rules.process(entries)
        self.tally.records += len(entries)
        self.tally.add(outcomes)
        self._outputs.update(
            output.to.name
            for outcome in outcomes
            if type(outcome) is Document
            for output in outcome.outputs
        )
        if self.labels:
            self.labels.seen |= self._frauds.intersection([entry[2] for entry in entries])
        self.rules.count(entries, self._frauds)
        moments = [entry[0] for entry in entries if entry[0]]
        if moments:
            self._first = min(*moments, self._first or moments[0])
            self._last = max(*moments, self._last or moments[0])
        if not self._others or not self._changes:
            return []
        return self._changes.add(entries, outcomes, await self._others.process(entries, anew=True))

    def scored(self, entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
        """Yield what the rules say of each scored event of the batch that was added last."""
        for entry in entries:
            scores = {}
            for name, one in self.rules.watched.items():
                found = one.seen.get(entry.record.position)
                if found is not None:
                    hits, score = found
                    rules = one.stage.rules
                    reasons = [rule.reason for n, rule in enumerate(rules) if hits >> n & 1]
                    level = self.rules.level_name(name, score)
                    scores[name] = {"score": score, "level": level, "rules": reasons}
            if scores:
                yield self._named(entry) | {"scores": scores}

    def _named(self, entry: Entry) -> dict[str, Any]:
        named = {"id": entry.record.id, "time_ms": entry.record.timestamp}
        if self.labels:
            return named | {"label": entry.label, "fraud": entry.label in self._frauds}
        return named

    def result(self, history: History, files: Sequence[str], seconds: float) -> Result:
        """Say what was found."""
        tally, labels = self.tally, self.labels
        against = str(self.against.file) if self.against else ""
        return Result(
            pipeline=self.config.pipeline.name,
            files=tuple(files),
            events=tally.records,
            late=history.late,
            first=iso(self._first),
            last=iso(self._last),
            seconds=round(seconds, 3),
            events_per_second=round(tally.records / seconds) if seconds else 0,
            documents=dict(sorted(tally.families().items())),
            alerts=dict(sorted(tally.alerts.items())),
            outputs=dict(sorted(self._outputs.items())),
            dead_letters=dict(sorted(tally.dead_letters.items())),
            dropped=dict(sorted(tally.dropped.items())),
            labels=label_result(labels) if labels else None,
            scores=self.rules.results(tally.records, labels),
            against=self._changes.result(against, tally.records) if self._changes else None,
        )


def label_result(labels: Labels) -> LabelResult:
    """Say what labels say."""
    return LabelResult(labels.named_by, len(labels.frauds), len(labels.seen))


def in_its_place(config: PipelineConfig, other: PipelineConfig) -> PipelineConfig:
    """Give a pipeline the name of the one whose place it is to take: a name is no change."""
    return replace(
        config, pipeline=config.pipeline.model_copy(update={"name": other.pipeline.name})
    )


def iso(epoch_ms: int | None) -> str | None:
    """Write a time, ISO 8601 in UTC; None for none, and beyond the calendar."""
    try:
        return None if epoch_ms is None else (_EPOCH + timedelta(milliseconds=epoch_ms)).isoformat()
    except OverflowError:
        return None
