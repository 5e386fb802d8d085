"""Add up points by rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from typing import Any, ClassVar

from pydantic import BaseModel, Field, model_validator

from enricher import path
from enricher.connections import STRICT
from enricher.expression import Arithmetic, Predicate, compile_number, compile_predicate
from enricher.functions import Number, is_number
from enricher.inline import define
from enricher.model import Event
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage
from enricher.template import Template, lenient_renderer


class Rule(BaseModel):
    """Points for what is true of an event."""

    model_config = STRICT
    when: Predicate
    add: Arithmetic = Field(
        description="Points: a number, or one that is worked out, such as "
        "`min(int(amount / mean * 5), 30)`. Where that gives none (a field is missing or no "
        "number, a division by zero), the rule counts as not true."
    )
    at_most: int | float | None = Field(default=None, description="Points of this rule, at most.")
    reason: Template = Field(description="Why, in words; may hold `{field}`.")


class Level(BaseModel):
    """What is written from a score upwards: `at_least`, `above`, or, with neither, for any."""

    model_config = STRICT
    at_least: float | None = Field(default=None, description="Points: these or more.")
    above: float | None = Field(default=None, description="Points: more than these.")
    set: dict[FieldPath, Any] = Field(
        description="Fields and the values they get; lists and objects, too."
    )

    @model_validator(mode="after")
    def _one_bound(self) -> Level:
        if self.at_least is not None and self.above is not None:
            raise ValueError("give either at_least or above")
        return self

    @property
    def bound(self) -> tuple[float, bool]:
        """Give the points, and whether more than these are wanted."""
        if self.above is not None:
            return self.above, True
        return (-inf if self.at_least is None else self.at_least), False


class Score(Stage):
    """Add up the points of every rule that is true, list the reasons, set fields by level.

    The highest level that the score reaches is set. Points that are worked out are bounded: one
    rule gives at most a million millions, or takes as many.
    """

    kind: ClassVar[str] = "score"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "two rules, two reasons",
            """score:
  target: risk
  reasons: why
  rules:
    - {when: 'amount > 100', add: 2, reason: 'amount {amount}'}
    - {when: 'country != "India"', add: 2, reason: abroad}
  levels:
    - {at_least: 3, set: {level: high}}
    - {set: {level: low}}""",
            {"amount": 500, "country": "Nepal"},
            {
                "amount": 500,
                "country": "Nepal",
                "risk": 4,
                "why": ["amount 500", "abroad"],
                "level": "high",
            },
        ),
        Example(
            "points that are worked out",
            """score:
  target: risk
  reasons: why
  rules:
    - when: amount > 5 * mean
      add: min(int(amount / mean * 5), 30)
      reason: '{amount:,.0f} is much more than {mean:.1f}'
  levels:
    - {above: 25, set: {actions: [block, call]}}""",
            {"amount": 6000, "mean": 1000.04},
            {
                "amount": 6000,
                "mean": 1000.04,
                "risk": 29,
                "why": ["6,000 is much more than 1000.0"],
                "actions": ["block", "call"],
            },
        ),
    )
    target: FieldPath = Field(description="Gets the score.")
    reasons: FieldPath | None = Field(default=None, description="Gets the list of reasons.")
    rules: list[Rule] = Field(
        min_length=1, description="Each whose condition is true adds to the score."
    )
    cap: int | float | None = Field(default=None, description="The highest score there is.")
    levels: list[Level] = Field(default_factory=list, description="Highest first.")

    @model_validator(mode="after")
    def _falling(self) -> Score:
        bounds = [level.bound for level in self.levels]
        if bounds != sorted(set(bounds), reverse=True):
            raise ValueError("the levels must fall, and only the last may have no bound")
        return self

    def compile(self, context: Context) -> EventFunction:
        """Compile the rules and build the function."""
        score = self.scorer(context, None)
        score.__dict__["telling"] = partial(self.scorer, context)
        return score

    def scorer(self, context: Context, told: list[int] | None) -> EventFunction:
        """Build the function; the first item of `told` gets a bit for each rule that hit."""
        put = path.setter(self.target)
        put_reasons = path.setter(self.reasons) if self.reasons else None
        cap = self.cap
        rules = tuple(
            (
                1 << number,
                compile_predicate(rule.when),
                *points_of(rule),
                lenient_renderer(rule.reason, context.builtins),
            )
            for number, rule in enumerate(self.rules)
        )
        levels = tuple((*level.bound, path.writer(level.set)) for level in self.levels)

        def score(event: Event) -> None:
            points: float = 0
            reasons = []
            hits = 0
            for bit, matches, add, work_out, render in rules:
                if matches(event):
                    if work_out is None:
                        points += add
                        reasons.append(render(event))
                        if told is not None:
                            hits |= bit
                    else:
                        worked_out = work_out(event)
                        if worked_out is not None:
                            points += worked_out
                            reasons.append(render(event))
                            if told is not None:
                                hits |= bit
            if told is not None:
                told[0] = hits
            if cap is not None and points > cap:
                points = cap
            put(event, points)
            if put_reasons is not None:
                put_reasons(event, reasons)
            for bound, is_above, write in levels:
                if points > bound if is_above else points >= bound:
                    write(event)
                    break

        return score

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return [
            self.target,
            *filter(None, [self.reasons]),
            *(f for one in self.levels for f in one.set),
        ]


def telling(score: EventFunction, told: list[int]) -> EventFunction:
    """Give the function of a stage as it does the same and tells which rules hit.

    Args:
        score: as the stage compiled it.
        told: its first item gets a bit for each rule that hit an event, the first rule's the
            lowest.
    """
    build: Callable[[list[int]], EventFunction] = score.__dict__["telling"]
    return build(told)


MOST_POINTS = 10**12
"""Of one rule whose points are worked out, either way: thousands of such rules stay a number."""


def points_of(rule: Rule) -> tuple[Number, Callable[[Event], Number | None] | None]:
    """Give the points of a rule, or the function that works them out."""
    most = rule.at_most
    if not isinstance(rule.add, str):
        return (rule.add if most is None else min(rule.add, most)), None
    most = MOST_POINTS if most is None else most

    def limit(value: Any) -> Number | None:
        return max(min(value, most), -MOST_POINTS) if is_number(value) else None

    names = {"limit": limit, "number": compile_number(rule.add)}
    return 0, define(("event",), "limit(number(event))", names)
