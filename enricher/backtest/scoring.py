"""Count what a score stage did, and work out what the counts say.

An event adds one to a counter, by which rules hit, score, level and whether it was fraud: so many
numbers as there are such cases, whatever the number of events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from math import floor, isfinite
from typing import NamedTuple

from enricher.backtest.result import (
    Bin,
    LevelResult,
    Quality,
    RuleResult,
    ScoreResult,
    Threshold,
)
from enricher.stages.score import Level, Score

NO_LEVEL = "no level"
_WIDEST = 1 << 20
"""A score beyond it counts as this: events choose no number of cases."""


class Case(NamedTuple):
    """What events have in common that are counted together."""

    hits: int
    """A bit for each rule, the first one's the lowest."""
    score: int
    level: int
    """Place in the levels; their number where none is reached."""
    fraud: bool


class Scoring:
    """Counts what one stage did."""

    def __init__(self, stage: Score) -> None:
        self.stage = stage
        self.cases: Counter[Case] = Counter()
        self._bounds = [level.bound for level in stage.levels]

    def level_of(self, score: float) -> int:
        """Give the place of the level that a score reaches; the number of levels for none."""
        reached = (
            number
            for number, (bound, is_above) in enumerate(self._bounds)
            if (score > bound if is_above else score >= bound)
        )
        return next(reached, len(self._bounds))

    def add(self, hits: int, score: float, count: int = 1, *, fraud: bool) -> None:
        """Count events that are alike."""
        if count:
            self.cases[Case(hits, whole(score), self.level_of(score), fraud)] += count


def whole(score: float) -> int:
    """Round a score down."""
    if not isfinite(score):
        return _WIDEST if score > 0 else -_WIDEST
    return max(-_WIDEST, min(_WIDEST, floor(score)))


def name_of(level: Level) -> str:
    """Name a level by the first text that it sets, or by its bound."""
    points, is_above = level.bound
    bound = f"{'>' if is_above else '≥'} {points:g}" if isfinite(points) else "any score"
    text = next((value for value in level.set.values() if isinstance(value, str)), None)
    return f"{text} ({bound})" if text else bound


def level_names(stage: Score) -> tuple[str, ...]:
    """Give a name for each place that `Scoring.level_of` gives."""
    return (*map(name_of, stage.levels), NO_LEVEL)


def quality(chosen: int, found: int, frauds: int, others: int) -> Quality:
    """Work out how well a choice meets what was fraud.

    Args:
        chosen: events that were picked.
        found: of them, those that were fraud.
        frauds: fraud there is, picked or not.
        others: scored events that were no fraud.
    """
    return Quality(
        chosen=chosen,
        found=found,
        precision=found / chosen if chosen else None,
        recall=found / frauds if frauds else None,
        f1=2 * found / (chosen + frauds) if chosen + frauds else None,
        false_positive_rate=(chosen - found) / others if others else None,
    )


def result_of(name: str, scoring: Scoring, events: int, unscored_frauds: int | None) -> ScoreResult:
    """Say what a stage did.

    Args:
        name: of the stage.
        scoring: what was counted.
        events: all there were, scored or not.
        unscored_frauds: fraud that never came to the stage; None without labels.
    """
    cases = scoring.cases
    scored = cases.total()
    found = frauds_of(cases)
    frauds, others = found + (unscored_frauds or 0), scored - found

    def judge(chosen: Mapping[Case, int]) -> Quality | None:
        if unscored_frauds is None:
            return None
        return quality(sum(chosen.values()), frauds_of(chosen), frauds, others)

    stage = scoring.stage
    return ScoreResult(
        name=name,
        target=stage.target,
        scored=scored,
        share=scored / events if events else 0.0,
        frauds=None if unscored_frauds is None else found,
        unscored_frauds=unscored_frauds,
        rules=tuple(rules_of(scoring, judge)),
        levels=tuple(levels_of(scoring, judge)),
        distribution=distribution(cases),
        curve=curve(distribution(cases), frauds, others) if unscored_frauds is not None else (),
    )


def frauds_of(cases: Mapping[Case, int]) -> int:
    """Count the fraud among some cases."""
    return sum(count for case, count in cases.items() if case.fraud)


Judge = Callable[[Mapping[Case, int]], Quality | None]


def rules_of(scoring: Scoring, judge: Judge) -> Iterable[RuleResult]:
    """Say what each rule did."""
    scored = scoring.cases.total()
    for number, rule in enumerate(scoring.stage.rules):
        hit = {case: n for case, n in scoring.cases.items() if case.hits >> number & 1}
        hits = sum(hit.values())
        points = sum(case.score * count for case, count in hit.items())
        yield RuleResult(
            reason=rule.reason,
            when=rule.when,
            add=str(rule.add),
            hits=hits,
            share=hits / scored if scored else 0.0,
            mean_score=points / hits if hits else None,
            distribution=distribution(hit),
            quality=judge(hit),
        )


def levels_of(scoring: Scoring, judge: Judge) -> Iterable[LevelResult]:
    """Say how many events came to each level."""
    cases = scoring.cases
    levels = [*scoring.stage.levels, None]
    for place, (name, level) in enumerate(zip(level_names(scoring.stage), levels, strict=True)):
        here = {case: count for case, count in cases.items() if case.level == place}
        if name == NO_LEVEL and not here:
            return
        count = sum(here.values())
        yield LevelResult(
            name=name,
            at_least=level.at_least if level else None,
            above=level.above if level else None,
            count=count,
            share=count / cases.total() if cases else 0.0,
            frauds=frauds_of(here),
            quality=judge({case: n for case, n in cases.items() if case.level <= place}),
        )


def distribution(cases: Mapping[Case, int]) -> tuple[Bin, ...]:
    """Give the events by score, the lowest first."""
    counts: Counter[int] = Counter()
    frauds: Counter[int] = Counter()
    for case, count in cases.items():
        counts[case.score] += count
        frauds[case.score] += count if case.fraud else 0
    return tuple(Bin(score, counts[score], frauds[score]) for score in sorted(counts))


def curve(bins: Iterable[Bin], frauds: int, others: int) -> tuple[Threshold, ...]:
    """Give the quality of "at least this score" for each score there is, the highest first.

    Args:
        bins: events by score, the lowest first.
        frauds: fraud there is, scored or not.
        others: scored events that were no fraud.
    """
    chosen = found = 0
    points = []
    for one in reversed(tuple(bins)):
        chosen += one.count
        found += one.frauds
        points.append(Threshold(one.score, quality(chosen, found, frauds, others)))
    return tuple(points)
