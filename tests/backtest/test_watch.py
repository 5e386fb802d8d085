"""Hits are those of the daemon: as many, and the same, as the reasons that its documents list."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from enricher.backtest.scoring import Scoring, level_names
from enricher.backtest.watch import Watched, watch
from enricher.build import build
from enricher.config import load
from enricher.expression import compile_predicate
from enricher.generator import accounts, generate, generate_fraud, hostile, users
from enricher.lookups import FileLookups
from enricher.model import Document, Record
from enricher.stages.score import Score
from enricher.template import lenient_renderer

from .histories import RULES, config_of

PIPELINES = Path(__file__).parents[2] / "pipelines"


def values(kind: str) -> list[bytes]:
    if kind == "fraud":
        return [one.record.value for one in generate_fraud(4_000, 0.1, days=3)]
    if kind == "all":
        return [one.value for one in generate(4_000)]
    return [one.value for one in hostile(3_000)]


@pytest.mark.parametrize("kind", ["fraud", "all", "hostile"])
def test_hits_are_the_reasons_that_the_daemon_lists(kind: str) -> None:
    """The documents of the plan as it is; reasons are told apart by what they begin with."""
    config = load(PIPELINES / "payments.yaml", {}, connections={})
    known = FileLookups(dict([*users(), *accounts()]))
    records = [Record(v, f"r{n}", 1_761_000_000_000, "t/0", n) for n, v in enumerate(values(kind))]
    documents = asyncio.run(build(config, known).process(records))
    plan, (score,) = watch(config, build(config, known))
    same = asyncio.run(plan.process(records))
    when = score.stage.when
    assert when
    is_scored = compile_predicate(when)
    checked = 0
    for record, document, other in zip(records, documents, same, strict=True):
        assert type(document) is type(other)
        if type(document) is not Document or type(other) is not Document:
            continue
        event = without_time(document.body)
        assert without_time(other.body) == event
        assert (document.index, document.alerts) == (other.index, other.alerts)
        if record.position in score.seen:
            hits, points = score.seen[record.position]
            assert points == event["fraud_risk_score"]
            assert len(event["fraud_indicators"]) == hits.bit_count()
            assert heads_of(score, hits) == [
                text.partition(" (")[0] for text in event["fraud_indicators"]
            ]
            checked += 1
        else:
            assert not is_scored(event)
    assert checked > len(records) / 20


def heads_of(score: Watched, hits: int) -> list[str]:
    rules = score.stage.rules
    return [rule.reason.partition(" (")[0] for n, rule in enumerate(rules) if hits >> n & 1]


def without_time(body: bytes) -> dict[str, Any]:
    event: dict[str, Any] = orjson.loads(body)
    event.pop("processed_at", None)
    return event


def test_conditions_see_the_event_as_the_stage_does() -> None:
    """Not as it was read, and not as it is at the end: other stages write what rules read."""
    text = RULES.replace(
        "  - score:\n      name: risk",
        "  - set: {name: before, fields: {amount: 500}}\n  - score:\n      name: risk",
    ).replace("  - drop:", "  - set: {name: after, fields: {night: true, score: 77}}\n  - drop:")
    config = config_of(text)
    plan, (score,) = watch(config, build(config))
    event = {"kind": "payment", "country": "India", "amount": 1}
    asyncio.run(plan.process([Record(orjson.dumps(event), "r", None, "t/0", 3)]))
    assert score.seen == {3: (0b001, 10)}
    assert lenient_renderer(score.stage.rules[0].reason, {})({"amount": 500}) == "large (500)"


def test_what_the_event_brings_is_no_score() -> None:
    """Events that the stage skips are not scored, whatever their fields say."""
    config = config_of()
    plan, (score,) = watch(config, build(config))
    event = {"kind": "other", "score": 99, "why": ["abroad"]}
    asyncio.run(plan.process([Record(orjson.dumps(event), "r", None, "t/0", 0)]))
    assert score.seen == {}


def test_a_stage_that_fails_gives_no_score() -> None:
    """Its target cannot be written here: the event is tagged once, and not counted."""
    config = config_of(RULES.replace("target: score", "target: risk.score"))
    plan, (score,) = watch(config, build(config))
    event = {"kind": "payment", "amount": 500, "country": "India", "risk": "text"}
    record = Record(orjson.dumps(event), "r", None, "t/0", 0)
    watched = asyncio.run(plan.process([record]))
    assert watched == asyncio.run(build(config).process([record]))
    assert isinstance(watched[0], Document)
    assert orjson.loads(watched[0].body)["tags"] == ["_timestamp_failure", "_risk_failure"]
    assert score.seen == {}


def test_watching_leaves_the_fast_way_open() -> None:
    """Most of what a backtest takes is the plan: it may not be another one."""
    config = load(PIPELINES / "payments.yaml", {}, connections={})
    plan, _ = watch(config, build(config))
    assert plan.bet.fast(plan, []) is not None


def test_a_rule_whose_points_cannot_be_worked_out_does_not_hit() -> None:
    """As the stage itself has it: no points, no reason, no hit."""
    config = config_of(RULES.replace("add: 10", "add: amount / divisor"))
    plan, (score,) = watch(config, build(config))
    for position, divisor in enumerate((100, 0, None)):
        event = {"kind": "payment", "amount": 500, "country": "India", "divisor": divisor}
        record = Record(orjson.dumps(event), "r", None, "t/0", position)
        asyncio.run(plan.process([record]))
        assert (score.seen[position][0] & 1) == (divisor == 100)


def test_levels_above_a_bound() -> None:
    """At the bound itself `above` is not reached, and `at_least` is."""
    rules = [{"when": "a", "add": 1, "reason": "r"}]
    levels = [{"above": 60, "set": {"l": "high"}}, {"at_least": 30, "set": {"l": "low"}}]
    stage = Score.model_validate({"target": "s", "rules": rules, "levels": levels})
    assert [Scoring(stage).level_of(score) for score in (60.5, 60, 30, 29)] == [0, 1, 1, 2]
    assert level_names(stage) == ("high (> 60)", "low (≥ 30)", "no level")
