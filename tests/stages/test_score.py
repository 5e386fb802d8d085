"""Scores: points that are worked out, their bounds, and what a level writes."""

from __future__ import annotations

from typing import Any

import pytest

from enricher.model import ConfigError
from enricher.stages.score import MOST_POINTS

from .running import event_of, plan_of

RATIO = """score:
      target: risk
      reasons: why
      cap: 100
      rules:
        - when: amount > 5 * mean
          add: min(int(amount / mean * 5), 30)
          reason: '{amount:,.0f} is {amount} and more than 5 × {mean:.1f}'
        - {when: speed > 0, add: speed / 3, at_most: 20, reason: '{speed:.0f} km/h'}
        - {when: night, add: 15, at_most: 10, reason: night}"""


@pytest.mark.parametrize(
    ("event", "points", "why"),
    [
        ({"amount": 500, "mean": 100}, 0, []),
        ({"amount": 501, "mean": 100}, 25, ["501 is 501 and more than 5 × 100.0"]),
        ({"amount": 600, "mean": 100}, 30, ["600 is 600 and more than 5 × 100.0"]),
        ({"amount": 6e4, "mean": 100}, 30, ["60,000 is 60000.0 and more than 5 × 100.0"]),
        ({"amount": 500}, 0, []),
        ({"amount": 500, "mean": 0}, 0, []),
        ({"amount": "500", "mean": 1}, 0, []),
        ({"speed": 30}, 10, ["30 km/h"]),
        ({"speed": 60}, 20, ["60 km/h"]),
        ({"speed": 61.7}, 20, ["62 km/h"]),
        ({"speed": 900, "night": True}, 30, ["900 km/h", "night"]),
    ],
)
def test_points_that_are_worked_out(event: dict[str, Any], points: float, why: list[str]) -> None:
    """What is missing, no number or divided by zero gives no points, no reason and no failure."""
    assert event_of(plan_of(RATIO), event) == {**event, "risk": points, "why": why}


def test_a_rule_whose_points_cannot_be_worked_out_counts_as_not_true() -> None:
    """Its condition holds, but there is nothing to add."""
    stage = "score: {target: s, reasons: w, rules: [{when: a, add: 1 / b, reason: x}]}"
    assert event_of(plan_of(stage), {"a": 1, "b": 0}) == {"a": 1, "b": 0, "s": 0, "w": []}
    assert event_of(plan_of(stage), {"a": 1, "b": True})["w"] == []
    assert event_of(plan_of(stage), {"a": 1, "b": 4})["s"] == 0.25


def test_points_are_bounded() -> None:
    """The sum of whatever events bring is a number that JSON can hold."""
    rules = ", ".join("{when: a != 0, add: a, reason: r}" for _ in range(40))
    plan = plan_of(f"score: {{target: s, rules: [{rules}]}}")
    assert event_of(plan, {"a": 2**63 - 1})["s"] == 40 * MOST_POINTS
    assert event_of(plan, {"a": -1.7e308})["s"] == -40 * MOST_POINTS
    assert event_of(plan, {"a": 2})["s"] == 80


def test_levels_above_and_from() -> None:
    """`above: 60` begins behind 60, `at_least: 60` with it; both may stand, and write lists."""
    levels = "{above: 60, set: {l: above, actions: [block, call], o: {x: 1}}}, "
    levels += "{at_least: 60, set: {l: sixty}}, {above: 30, set: {l: mid}}, {set: {l: low}}"
    plan = plan_of(
        f"score: {{target: s, rules: [{{when: a, add: a, reason: r}}], levels: [{levels}]}}"
    )
    for points, level in (
        (61, "above"),
        (60.5, "above"),
        (60, "sixty"),
        (59, "mid"),
        (31, "mid"),
        (30, "low"),
    ):
        event = event_of(plan, {"a": points})
        assert event["l"] == level
        assert ("actions" in event) == (level == "above")
    assert event_of(plan, {"a": 99})["actions"] == ["block", "call"]
    assert event_of(plan, {"a": 99})["o"] == {"x": 1}


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ("{at_least: 60, set: {a: 1}}, {above: 60, set: {a: 2}}", "the levels must fall"),
        ("{above: 60, set: {a: 1}}, {above: 60, set: {a: 2}}", "the levels must fall"),
        ("{set: {a: 1}}, {above: 60, set: {a: 2}}", "only the last may have no bound"),
        ("{above: 1, at_least: 2, set: {a: 1}}", "give either at_least or above"),
    ],
)
def test_levels_that_cannot_be(levels: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(
            f"score: {{target: s, rules: [{{when: a, add: 1, reason: r}}], levels: [{levels}]}}"
        )


def test_what_is_no_number_is_told() -> None:
    """With its place; as are the other mistakes of an expression."""
    with pytest.raises(ConfigError, match=r"rules\[0\]\.add.*a number is wanted here"):
        plan_of("score: {target: s, rules: [{when: a, add: a > 1, reason: r}]}")
