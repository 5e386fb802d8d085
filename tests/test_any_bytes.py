"""Any bytes at all as a record: one outcome each, that can be written, and never a crash."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import orjson
import pytest
from click import unstyle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enricher.build import build
from enricher.cli import outcomes
from enricher.cli.explain import explain
from enricher.config import load
from enricher.generator import generate, hostile
from enricher.model import DeadLetter, Document, Outcome, Record
from enricher.plan import Plan

PIPELINE = Path(__file__).parent.parent / "pipelines" / "payments.yaml"
EVENTS = [event.value for event in generate(60)]
HOSTILE = [event.value for event in hostile(120) if len(event.value) < 4096]
FIELDS = sorted({key for value in EVENTS for key in orjson.loads(value)} | {"message", "tags"})
INDEX = re.compile(
    r"(payment-logs|payment-critical-logs|fraud-logs|application-logs)"
    r"-([0-9]{4}\.[0-9]{2}\.[0-9]{2}|outofrange)"
)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return build(load(PIPELINE, {}))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real record with a piece cut out and another put in."""
    value = draw(st.sampled_from(EVENTS + HOSTILE))
    start = draw(st.integers(0, len(value)))
    end = draw(st.integers(start, min(len(value), start + 40)))
    piece = draw(
        st.binary(max_size=8)
        | st.sampled_from(
            [b'"', b"{", b"}", b"[", b"\\", b"\\ud800", b"null", b"1e999", b"\xff", b"\0"]
        )
    )
    return value[:start] + piece + value[end:]


scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["payment-service", "UPI", "ERROR", "BUSINESS", "PAYMENT_FAILED", "2025-10-20T23:00:00Z", "a@oksbi"])
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
shaped = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), values, max_size=10).map(
    orjson.dumps
)
wrapped = shaped.map(lambda value: orjson.dumps({"message": value.decode()}))
records = st.lists(
    st.tuples(
        st.binary(max_size=80) | damaged() | shaped | wrapped,
        st.none() | st.integers(0, 4_102_444_800_000),
    ),
    min_size=1,
    max_size=8,
)


def check(record: Record, outcome: Outcome) -> None:
    """See that an outcome is whole: it names its record, and sinks can write it."""
    assert outcome.record is record
    if isinstance(outcome, Document):
        assert INDEX.fullmatch(outcome.index)
        assert 0 < len(outcome.id.encode()) <= 512
        assert b"\n" not in outcome.body
        assert type(orjson.loads(outcome.body)) is dict
        assert all(alert.name and "\n" not in alert.name for alert in outcome.alerts)
    else:
        assert isinstance(outcome, DeadLetter)
        assert outcome.stage == "json"
        assert outcome.error.isidentifier()
        assert outcome.reason
    line = outcomes.ndjson(outcome)
    assert line.count(b"\n") == 1
    assert orjson.loads(line)["outcome"] in ("document", "dead_letter")
    assert all(part.isprintable() for part in unstyle(outcomes.pretty(outcome)).split("\n"))


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batch=records)
def test_any_bytes_have_one_outcome(plan: Plan, batch: list[tuple[bytes, int | None]]) -> None:
    """Through the payments pipeline, in order; stage by stage and explained it is the same one."""
    given_records = [
        Record(value, f"id-{number}", timestamp, "t/0", number)
        for number, (value, timestamp) in enumerate(batch)
    ]

    async def run() -> tuple[list[Outcome], list[Outcome], list[Outcome | None]]:
        fused = await plan.process(given_records)
        single = await plan.process_timed(given_records, {})
        return fused, single, [(await explain(plan, record))[1] for record in given_records]

    fused, single, explained = asyncio.run(run())
    for record, outcome, *others in zip(given_records, fused, single, explained, strict=True):
        check(record, outcome)
        for other in others:
            assert timeless(other) == timeless(outcome)


def timeless(outcome: Outcome | None) -> object:
    """Give an outcome but for the time of processing, and the order of its fields."""
    if not isinstance(outcome, Document):
        return outcome
    event = orjson.loads(outcome.body)
    event.pop("processed_at", None)
    return outcome._replace(body=orjson.dumps(event, option=orjson.OPT_SORT_KEYS))
