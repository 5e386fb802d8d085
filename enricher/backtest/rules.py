"""A pipeline whose rules are tried on history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from enricher.backtest.decoded import Decoded
from enricher.backtest.labels import Labels
from enricher.backtest.order import Entry
from enricher.backtest.result import ScoreResult
from enricher.backtest.scoring import Scoring, level_names, result_of
from enricher.backtest.watch import Watched, watch
from enricher.build import build
from enricher.config import PipelineConfig
from enricher.lookups.store import Lookups
from enricher.model import Outcome
from enricher.plan import Clock


class StoppedClock(Clock):
    """Stands still: what two pipelines write at one time is the same."""

    def tick(self) -> None:
        """Leave the time as it is."""


class Rules:
    """A plan with its score stages watched, and what they did so far.

    Raises ConfigError for a pipeline that cannot be built.

    Args:
        config: of the pipeline.
        lookups: what its look-ups ask; nobody is known without.
        now: what `{$now}` says, ISO 8601.
    """

    def __init__(self, config: PipelineConfig, lookups: Lookups | None, now: str) -> None:
        plan = build(config, lookups)
        plan.clock.text = now
        watched_plan, watched = watch(config, plan)
        self._decoded = Decoded(plan.decode)
        self.plan = replace(watched_plan, clock=StoppedClock(), decode=self._decoded)
        self.watched = by_name(watched)
        self.scorings = {name: Scoring(one.stage) for name, one in self.watched.items()}
        self._scored_frauds: dict[str, set[Any]] = {name: set() for name in self.watched}
        self.levels = {name: level_names(one.stage) for name, one in self.watched.items()}
        """Names of the levels of each stage, the highest first."""

    async def process(self, entries: Sequence[Entry], *, anew: bool = False) -> list[Outcome]:
        """Run a batch through the plan.

        Args:
            entries: of the batch. Their events are changed.
            anew: whether events are to be decoded anew: others changed them, or decoded them.
        """
        for one in self.watched.values():
            one.clear()
        records = [entry[1] for entry in entries]
        if not anew:
            self._decoded.tell(records, [entry[3] for entry in entries])
        return await self.plan.process(records)

    def count(self, entries: Sequence[Entry], frauds: frozenset[Any]) -> None:
        """Count the scores of the batch that was processed last."""
        labels = {entry.record.position: entry.label for entry in entries if entry[2] in frauds}
        for name, one in self.watched.items():
            scoring = self.scorings[name]
            fraudulent = labels.keys() & one.seen.keys()
            found = Counter(one.seen.values())
            for hits, score in (one.seen[position] for position in fraudulent):
                found[hits, score] -= 1
                scoring.add(hits, score, fraud=True)
            for (hits, score), count in found.items():
                scoring.add(hits, score, count, fraud=False)
            self._scored_frauds[name].update(map(labels.__getitem__, fraudulent))

    def score_of(self, name: str, position: int) -> float | None:
        """Give the score of an event of this batch; None where it has none."""
        one = self.watched.get(name)
        found = one.seen.get(position) if one else None
        return found[1] if found else None

    def level_name(self, name: str, score: float | None) -> str | None:
        """Name the level of a score; None for none."""
        if score is None:
            return None
        return self.levels[name][self.scorings[name].level_of(score)]

    def results(self, events: int, labels: Labels | None) -> tuple[ScoreResult, ...]:
        """Say what each stage did."""
        return tuple(
            result_of(
                name,
                scoring,
                events,
                len(labels.seen - self._scored_frauds[name]) if labels else None,
            )
            for name, scoring in self.scorings.items()
        )


def by_name(watched: Sequence[Watched]) -> Mapping[str, Watched]:
    """Give stages by their names; those that share one get numbers."""
    named: dict[str, Watched] = {}
    for one in watched:
        name, number = one.name, 1
        while name in named:
            number += 1
            name = f"{one.name}_{number}"
        named[name] = one
    return named
