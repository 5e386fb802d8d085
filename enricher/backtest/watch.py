"""See which rules of a `score` stage hit, and what score came of it.

A stage is watched by a step that stands in its place: it asks the conditions of the rules about
the event as the stage finds it, lets the stage do its work, and notes what it wrote. Nothing is
parsed out of the reasons, and a stage that fails on an event is no score.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from enricher import path
from enricher.config import PipelineConfig
from enricher.expression import compile_predicate
from enricher.loop import Step
from enricher.model import Event, Record
from enricher.plan import Plan
from enricher.stages.score import Score


@dataclass(slots=True)
class Watched:
    """One `score` stage of a plan, and what it made of the batch at hand."""

    name: str
    stage: Score
    seen: dict[int, tuple[int, float]] = field(default_factory=dict)
    """By the record's position: a bit for each rule that hit, the first rule's the lowest; and the
    score, after its cap."""


def watch(config: PipelineConfig, plan: Plan) -> tuple[Plan, list[Watched]]:
    """Give the same plan with its score stages watched, and what watches them.

    The positions of the records of a batch must differ.
    """
    steps, watched = [], []
    for stage, step in zip(config.stages[1:], plan.steps, strict=True):
        if isinstance(stage, Score):
            one = Watched(step.name, stage)
            watched.append(one)
            steps.append(step._replace(function=observer(one, step), takes_record=True))
        else:
            steps.append(step)
    return replace(plan, steps=tuple(steps)), watched


def observer(watched: Watched, step: Step) -> Any:
    """Build the function that does a stage's work and notes it."""
    stage, seen = watched.stage, watched.seen
    score: Any = step.function
    get = path.getter(stage.target)
    rules = tuple((compile_predicate(rule.when), 1 << n) for n, rule in enumerate(stage.rules))

    def observe(event: Event, record: Record) -> None:
        hits = 0
        for matches, bit in rules:
            if matches(event):
                hits |= bit
        score(event)
        seen[record.position] = hits, get(event)

    return observe
