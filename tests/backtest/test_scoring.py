"""Hits, levels, precision and recall: known answers, and a model of ten lines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.backtest.result import Quality, ScoreResult
from enricher.backtest.scoring import Scoring, result_of, whole
from enricher.stages.score import Score

from .histories import ABROAD, BAD, HARMLESS, LARGE, NIGHT, WORST, backtest, payment

KINDS = [HARMLESS, HARMLESS, HARMLESS, NIGHT, NIGHT, LARGE, ABROAD, BAD, WORST, WORST]
EVENTS = [payment(number, **fields) for number, fields in enumerate(KINDS)]
FRAUDS = ["p1", "p7", "p8", "p9"]
"""A harmless one, a bad one, and the worst two."""


def scored(frauds: list[str] | None = None) -> ScoreResult:
    (score,) = backtest(EVENTS, frauds=frauds)[0].scores
    return score


def test_rules_hit_as_often_as_they_do() -> None:
    """The share is of the scored events; the mean that of the scores after the cap."""
    large, night, abroad = scored().rules
    assert (large.reason, large.when, large.add) == ("large ({amount})", "amount > 100", "10")
    assert [rule.hits for rule in (large, night, abroad)] == [4, 4, 4]
    assert large.share == 0.4
    assert large.mean_score == (10 + 30 + 30 + 30) / 4
    assert [(one.score, one.count) for one in night.distribution] == [(5, 2), (30, 2)]
    assert large.quality is None


def test_levels_and_scores_are_counted() -> None:
    score = scored()
    assert [(one.score, one.count) for one in score.distribution] == [
        (0, 3), (5, 2), (10, 1), (20, 1), (30, 3),
    ]  # fmt: skip
    assert [(level.name, level.count) for level in score.levels] == [
        ("high (≥ 25)", 3), ("medium (≥ 10)", 2), ("no level", 5),
    ]  # fmt: skip
    assert score.curve == ()
    assert score.frauds is None


def test_precision_and_recall_by_hand() -> None:
    """Three of four frauds are high, and nothing else is."""
    score = scored(FRAUDS)
    high, medium, none = score.levels
    assert (high.frauds, medium.frauds, none.frauds) == (3, 0, 1)
    assert high.quality == Quality(3, 3, 1.0, 0.75, 6 / 7, 0.0)
    assert medium.quality == Quality(5, 3, 0.6, 0.75, 2 / 3, 2 / 6)
    assert score.rules[1].quality == Quality(4, 2, 0.5, 0.5, 0.5, 2 / 6)
    assert [(one.score, one.quality.chosen, one.quality.found) for one in score.curve] == [
        (30, 3, 3), (20, 4, 3), (10, 5, 3), (5, 7, 3), (0, 10, 4),
    ]  # fmt: skip


def test_fraud_that_was_never_scored_was_missed() -> None:
    """A fraud in the history that no rule looked at lowers the recall; one outside it does not."""
    events = [*EVENTS, payment(20, kind="other"), payment(21, kind="noise")]
    result = backtest(events, frauds=[*FRAUDS, "p20", "p21", "p99"])[0]
    (score,) = result.scores
    assert result.labels is not None
    assert (result.labels.frauds, result.labels.in_history) == (7, 6)
    assert (score.frauds, score.unscored_frauds) == (4, 2)
    assert score.levels[0].quality == Quality(3, 3, 1.0, 0.5, 6 / 9, 0.0)
    assert score.share == 10 / 12


def test_no_event_and_no_fraud_divide_nothing() -> None:
    (nothing,) = backtest([], frauds=[])[0].scores
    assert nothing.rules[0].quality == Quality(0, 0, None, None, None, None)
    (none,) = backtest(EVENTS, frauds=[])[0].scores
    assert none.levels[0].quality == Quality(3, 0, 0.0, None, 0.0, 0.3)


@given(st.lists(st.tuples(st.floats(-30, 120), st.booleans()), max_size=60), st.integers(0, 3))
def test_the_curve_is_that_of_a_naive_model(
    events: list[tuple[float, bool]], unscored: int
) -> None:
    """Counted again for each threshold, event by event."""
    scoring = Scoring(stage())
    for score, fraud in events:
        scoring.add(0, score, fraud=fraud)
    result = result_of("s", scoring, len(events), unscored)
    assert [one.score for one in result.curve] == sorted({whole(s) for s, _ in events})[::-1]
    checked: list[tuple[float, Quality | None]] = [(one.score, one.quality) for one in result.curve]
    checked += [(bound, level.quality) for level in result.levels[:-1] if (bound := level.at_least)]
    for threshold, quality in checked:
        chosen = [fraud for score, fraud in events if score >= threshold]
        frauds = sum(fraud for _, fraud in events) + unscored
        others = sum(not fraud for _, fraud in events)
        hits, wrong = sum(chosen), len(chosen) - sum(chosen)
        precision = hits / len(chosen) if chosen else None
        recall = hits / frauds if frauds else None
        assert quality is not None
        assert (quality.precision, quality.recall) == (precision, recall)
        assert quality.false_positive_rate == (wrong / others if others else None)
        if precision and recall:
            assert quality.f1 == pytest.approx(2 * precision * recall / (precision + recall))


def stage(**fields: Any) -> Score:
    levels = [{"at_least": 60.5, "set": {"l": "high"}}, {"at_least": 30, "set": {"l": "low"}}]
    rules = [{"when": "a", "add": 1, "reason": "r"}]
    return Score.model_validate({"target": "s", "rules": rules, "levels": levels, **fields})


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (2.5, 2),
        (-0.5, -1),
        (float("inf"), 1 << 20),
        (-1e300, -(1 << 20)),
        (float("nan"), -(1 << 20)),
    ],
)
def test_a_score_is_a_whole_number_of_bounded_size(score: float, expected: int) -> None:
    """However events choose their scores, there are so many cases and no more."""
    assert whole(score) == expected
