"""See which rules of a `score` stage hit, and what score came of it.

A step before the stage asks the conditions of its rules about the event as the stage finds it;
what follows the stage notes the score that it wrote. Nothing is parsed out of the reasons, and
where a stage fails on an event there is no score. Noting twice does no harm: an event that is unfit
for the fast way through the plan takes both.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from enricher import path
from enricher.config import PipelineConfig
from enricher.expression import compile_predicate
from enricher.functions import is_number
from enricher.loop import Step
from enricher.model import Event, Record
from enricher.plan import Plan
from enricher.stages.base import EventFunction
from enricher.stages.score import Score, points_of


@dataclass(slots=True)
class Watched:
    """One `score` stage of a plan, and what it made of the batch at hand."""

    name: str
    stage: Score
    hit: dict[int, int] = field(default_factory=dict)
    """By the record's position: a bit for each rule that hit, the first rule's the lowest."""
    seen: dict[int, tuple[int, float]] = field(default_factory=dict)
    """The same of those that were scored, and the score after its cap."""

    def clear(self) -> None:
        """Forget the batch."""
        self.hit.clear()
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
            note_hits, note_score = observers(one)
            before = Step(step.name, note_hits, step.when, takes_record=True, writes=frozenset())
            steps += before, step._replace(then=note_score)
        else:
            steps.append(step)
    return replace(plan, steps=tuple(steps)), watched


def observers(watched: Watched) -> tuple[EventFunction, EventFunction]:
    """Build what runs before a stage and what runs after it."""
    hit, seen, get = watched.hit, watched.seen, path.getter(watched.stage.target)
    rules = tuple(
        (compile_predicate(rule.when), points_of(rule)[1], 1 << number)
        for number, rule in enumerate(watched.stage.rules)
    )

    def note_hits(event: Event, record: Record) -> None:
        hits = 0
        for matches, work_out, bit in rules:
            if matches(event):
                if work_out is None:
                    hits |= bit
                else:
                    points = work_out(event)
                    if points is not None:
                        hits |= bit
        hit[record.position] = hits

    def note_score(event: Event, record: Record) -> None:
        score = get(event)
        if is_number(score):  # a level might put anything in its place
            seen[record.position] = hit[record.position], score

    return note_hits, note_score
