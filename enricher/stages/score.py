"""Add up points by rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic import BaseModel, Field, model_validator

from enricher import path
from enricher.connections import STRICT
from enricher.expression import Predicate, compile_predicate
from enricher.model import Event
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage
from enricher.template import Template, lenient_renderer


class Rule(BaseModel):
    """Points for what is true of an event."""

    model_config = STRICT
    when: Predicate
    add: int | float = Field(description="Points.")
    reason: Template = Field(description="Why, in words; may hold `{field}`.")


class Level(BaseModel):
    """What is written from a score upwards."""

    model_config = STRICT
    at_least: float | None = Field(default=None, description="Points; none: any score.")
    set: dict[FieldPath, Any] = Field(description="Fields and the values they get.")


class Score(Stage):
    """Add up the points of every rule that is true, list the reasons, set fields by level.

    The highest level that the score reaches is set.
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
        bounds = [level.at_least for level in self.levels]
        known = [bound for bound in bounds if bound is not None]
        if None in bounds[:-1] or known != sorted(set(known), reverse=True):
            raise ValueError("the levels must fall, and only the last may have no at_least")
        return self

    def compile(self, context: Context) -> EventFunction:
        """Compile the rules and build the function."""
        put = path.setter(self.target)
        put_reasons = path.setter(self.reasons) if self.reasons else None
        cap = self.cap
        rules = tuple(
            (
                compile_predicate(rule.when),
                rule.add,
                lenient_renderer(rule.reason, context.builtins),
            )
            for rule in self.rules
        )
        levels = tuple(
            (
                level.at_least if level.at_least is not None else float("-inf"),
                path.writer(level.set),
            )
            for level in self.levels
        )

        def score(event: Event) -> None:
            points: float = 0
            reasons = []
            for matches, add, render in rules:
                if matches(event):
                    points += add
                    reasons.append(render(event))
            if cap is not None and points > cap:
                points = cap
            put(event, points)
            if put_reasons is not None:
                put_reasons(event, reasons)
            for at_least, write in levels:
                if points >= at_least:
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
