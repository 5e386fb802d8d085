"""What a backtest found: plain data, which every way of showing it works from."""

from __future__ import annotations

from dataclasses import dataclass

from enricher.inline_tests import Difference


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a choice of events meets what was fraud. Shares are from 0 to 1.

    A share of nothing is None: the precision of a choice that chose nothing.
    """

    chosen: int
    """Events that it picks."""
    found: int
    """Those of them that were fraud."""
    precision: float | None
    """Part of what it picks that was fraud."""
    recall: float | None
    """Part of the fraud that it picks."""
    f1: float | None
    """Harmonic mean of both."""
    false_positive_rate: float | None
    """Part of the scored events that were no fraud that it picks."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Events by score, rounded down to a whole number."""

    score: int
    count: int
    frauds: int


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule of a score did."""

    reason: str
    """As the pipeline has it, with its `{field}`."""
    when: str
    add: str
    """Points, as the pipeline has them."""
    hits: int
    share: float
    """Of the scored events."""
    mean_score: float | None
    """Of the events that it hit, each rounded down; None where it hit none."""
    distribution: tuple[Bin, ...]
    """Scores of the events that it hit."""
    quality: Quality | None
    """Of "the rule hit", without the others; None without labels."""


@dataclass(frozen=True, slots=True)
class LevelResult:
    """How many events came to a level of a score."""

    name: str
    at_least: float | None
    above: float | None
    """Its bound; neither: any score."""
    count: int
    share: float
    frauds: int
    quality: Quality | None
    """Of "this level or a higher one"; None without labels."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """How well "at least this score" meets what was fraud."""

    score: int
    quality: Quality


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """What one `score` stage did."""

    name: str
    target: str
    scored: int
    share: float
    """Of all events."""
    frauds: int | None
    """Fraud among the scored events."""
    unscored_frauds: int | None
    """Fraud that is in the history and never came to this stage: part of what it missed."""
    rules: tuple[RuleResult, ...]
    levels: tuple[LevelResult, ...]
    """The highest first; last, where some events came to none, `no level`."""
    distribution: tuple[Bin, ...]
    curve: tuple[Threshold, ...]
    """One for each score there is, the highest first; empty without labels."""


@dataclass(frozen=True, slots=True)
class Changed:
    """One event that another pipeline makes something else of."""

    id: str
    """Of its record."""
    label: str | int | None
    """Value of the field that labels name; None without labels."""
    time_ms: int | None
    scores: dict[str, tuple[float | None, float | None]]
    """Old and new, by score stage, where they differ; None is not scored."""
    differences: tuple[Difference, ...]
    """What is otherwise: `outcome`, `index`, `id`, `alerts`, `outputs.…`, or a field: `event.a`."""


@dataclass(frozen=True, slots=True)
class LevelMove:
    """How many events went from one level of a score to another."""

    old: str
    """Name of the level, or `not scored`."""
    new: str
    count: int


@dataclass(frozen=True, slots=True)
class AgainstResult:
    """What would change with another pipeline file."""

    file: str
    changed: int
    share: float
    scores: int
    """Events with another score, or scored by one of both alone."""
    levels: int
    alerts: int
    outputs: int
    indices: int
    outcomes: int
    """Events that become something else: a document, a dead letter, dropped."""
    fields: dict[str, int]
    """Events by top-level field of the document that differs."""
    new_alerts: dict[str, int]
    """Alerts that only the other file raises, by name."""
    lost_alerts: dict[str, int]
    new_outputs: dict[str, int]
    lost_outputs: dict[str, int]
    moves: dict[str, tuple[LevelMove, ...]]
    """By score stage, also what stays where it is."""
    examples: tuple[Changed, ...]
    """The largest changes of a score first."""


@dataclass(frozen=True, slots=True)
class LabelResult:
    """What labels say, and how much of it is in the history."""

    field: str
    frauds: int
    """Labels that say fraud."""
    in_history: int


@dataclass(frozen=True, slots=True)
class Result:
    """What a backtest found."""

    pipeline: str
    """Its name."""
    files: tuple[str, ...]
    events: int
    late: int
    """Events that came too late to be put in order; they went through when they came."""
    first: str | None
    """Time of the first event, ISO 8601 in UTC."""
    last: str | None
    seconds: float
    events_per_second: int
    documents: dict[str, int]
    """By index without its date."""
    alerts: dict[str, int]
    outputs: dict[str, int]
    dead_letters: dict[str, int]
    """By `stage: error`."""
    dropped: dict[str, int]
    labels: LabelResult | None
    scores: tuple[ScoreResult, ...]
    against: AgainstResult | None
