"""See which rules of a `score` stage hit, and what score came of it.

The stage itself tells which rules hit, and what follows it notes that with the score that it wrote.
Nothing is parsed out of the reasons, and where a stage fails on an event there is no score. Noting
twice does no harm: an event that is unfit for the fast way through the plan takes both.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from enricher import path
from enricher.config import PipelineConfig
from enricher.functions import is_number
from enricher.loop import Step
from enricher.model import Event, Record
from enricher.plan import Plan
from enricher.stages.base import EventFunction
from enricher.stages.score import Score, telling


@dataclass(slots=True)
class Watched:
    """One `score` stage of a plan, and what it made of the batch at hand."""

    name: str
    stage: Score
    told: list[int] = field(default_factory=lambda: [0])
    """Of the event at hand: a bit for each rule that hit, the first rule's the lowest."""
    seen: dict[int, tuple[int, float]] = field(default_factory=dict)
    """By the record's position: those bits, and the score after its cap."""

    def clear(self) -> None:
        """Forget the batch."""
        self.seen.clear()


def watch(config: PipelineConfig, plan: Plan) -> tuple[Plan, list[Watched]]:
    """Give the same plan with its score stages watched, and what watches them.

    The positions of the records of a batch must differ.
    """
    steps: list[Step] = []
    watched = []
    for stage, step in zip(config.stages[1:], plan.steps, strict=True):
        if isinstance(stage, Score):
            one = Watched(step.name, stage)
            watched.append(one)
            function: Any = step.function
            steps.append(step._replace(function=telling(function, one.told), then=noter(one)))
        else:
            steps.append(step)
    return replace(plan, steps=tuple(steps)), watched


def noter(watched: Watched) -> EventFunction:
    """Build what runs after a stage."""
    told, seen, get = watched.told, watched.seen, path.getter(watched.stage.target)

    def note_score(event: Event, record: Record) -> None:
        score = get(event)
        if is_number(score):  # a level might put anything in its place
            seen[record.position] = told[0], score

    return note_score
