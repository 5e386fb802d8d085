"""Hold the shipped payments pipeline against an independent reading of its rules."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from enricher import __version__
from enricher.build import build
from enricher.config import load
from enricher.generator import DEAD_LETTER_CASES, generate, hostile, users
from enricher.generator.hostile import CASES
from enricher.inline_tests import run_tests
from enricher.model import DeadLetter, Document, Outcome, Record
from enricher.plan import Plan

from .lookups.stores import Store
from .oracle import expected

PIPELINE = Path(__file__).parent.parent / "pipelines" / "payments.yaml"
USERS = dict(users())
OF_THE_RUN = {"processed_at", "processing_node", "enricher_version"}


def plan_with(store: Store) -> Plan:
    return build(load(PIPELINE, {}), store)


def process(plan: Plan, records: Sequence[Record]) -> list[Outcome]:
    """Process records in batches as the daemon does."""

    async def run() -> list[Outcome]:
        done: list[Outcome] = []
        for start in range(0, len(records), 500):
            done += await plan.process(records[start : start + 500])
        return done

    return asyncio.run(run())


def opened(value: bytes) -> dict[str, Any]:
    """Decode a value and open its envelope, with the standard library."""
    event: dict[str, Any] = json.loads(value)
    try:
        inner = json.loads(event["message"])
    except (KeyError, TypeError, ValueError):
        return event
    if isinstance(inner, dict):
        del event["message"]
        event |= inner
    return event


def sorted_json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def check(record: Record, outcome: Outcome) -> None:
    """Compare an outcome with the oracle's, key for key and type for type."""
    assert isinstance(outcome, Document), outcome
    want = expected(opened(record.value), record.timestamp, record.id, USERS)
    document: dict[str, Any] = orjson.loads(outcome.body)
    assert document.pop("processed_at").endswith("+00:00")
    assert document.pop("processing_node") == socket.gethostname()
    assert document.pop("enricher_version") == __version__
    failures = document.pop("failures", {})
    tags = want.document.get("tags", [])
    assert {f"_{name}_failure" for name in failures} == {t for t in tags if t.endswith("_failure")}
    assert document == want.document
    assert sorted_json(document) == sorted_json(want.document)  # 1 is not 1.0, nor true
    assert outcome.index == want.target
    assert outcome.id == want.id
    assert outcome.version == (None if want.id == record.id else record.timestamp or 0)
    assert [f"{alert.name}: {alert.summary}" for alert in outcome.alerts] == want.alerts
    assert outcome.record is record


def test_inline_tests_pass() -> None:
    """The examples in the file hold."""
    results = asyncio.run(run_tests(load(PIPELINE, {}, connections={})))
    assert [result for result in results if not result.passed] == []
    assert len(results) >= 30


def test_generated_events_follow_the_rules_to_the_letter() -> None:
    """Each document of 20,000 is the oracle's, and so are its index, its id and its alerts."""
    records = [
        Record(event.value, f"id-{number}", event.timestamp, f"{event.topic}/0", number)
        for number, event in enumerate(generate(20_000))
    ]
    outcomes = process(plan_with(Store(USERS)), records)
    for record, outcome in zip(records, outcomes, strict=True):
        check(record, outcome)
    documents = [outcome for outcome in outcomes if isinstance(outcome, Document)]
    alerts = Counter(alert.name for outcome in documents for alert in outcome.alerts)
    assert min(alerts["HighRiskTransaction"], alerts["PaymentProcessingError"]) > 50
    assert len({outcome.index.split("-2")[0] for outcome in documents}) == 4


def test_other_seasons_and_files() -> None:
    """The rules hold at New Year, at Holi and Eid, and for files, which have no timestamps."""
    from datetime import datetime

    starts = [datetime(2025, 12, 20), datetime(2026, 3, 1), datetime(2026, 8, 5)]
    records = [
        Record(event.value, f"id-{number}", timestamp, "events.ndjson", number)
        for start in starts
        for number, event in enumerate(generate(500, seed=2, start=start, days=35))
        for timestamp in (event.timestamp, None)
    ]
    for record, outcome in zip(records, process(plan_with(Store(USERS)), records), strict=True):
        check(record, outcome)


def test_replay_differs_in_the_time_of_processing_only() -> None:
    """A second run gives the same documents but for processed_at."""
    records = [
        Record(event.value, f"id-{number}", event.timestamp, "t/0", number)
        for number, event in enumerate(generate(300))
    ]

    def once() -> list[tuple[object, ...]]:
        done = process(plan_with(Store(USERS)), records)
        return [
            (one.index, one.id, {**orjson.loads(one.body), "processed_at": None}, one.alerts)
            for one in done
            if isinstance(one, Document)
        ]

    first = once()
    assert len(first) == 300
    assert first == once()


def test_redis_away_is_tagged_and_nothing_else() -> None:
    """Without Redis each event with a user gets the tag, and keeps everything else."""
    records = [
        Record(event.value, f"id-{number}", event.timestamp, "t/0", number)
        for number, event in enumerate(generate(300))
    ]
    there = process(plan_with(Store(USERS)), records)
    store = Store(USERS)
    store.is_away = True
    away = process(plan_with(store), records)
    for record, one, other in zip(records, there, away, strict=True):
        assert isinstance(one, Document)
        assert isinstance(other, Document)
        document = orjson.loads(other.body)
        asked = bool(opened(record.value).get("user_id"))
        assert ("_user_lookup_failure" in document.get("tags", [])) == asked
        of_user = {"user_data", "user_registration_days", "user_lifetime_value"}
        of_user |= {"user_transaction_count", "tags", "failures", *OF_THE_RUN}
        rest = {key: value for key, value in document.items() if key not in of_user}
        before = orjson.loads(one.body)
        assert rest == {key: value for key, value in before.items() if key not in of_user}
        assert one.index == other.index


def test_users_are_asked_once_a_batch() -> None:
    """One question a batch, each key once."""
    store = Store(USERS)
    records = [
        Record(event.value, f"id-{number}", event.timestamp, "t/0", number)
        for number, event in enumerate(generate(1000))
    ]
    process(plan_with(store), records)
    assert len(store.asked) == 2
    assert all(len(keys) == len(set(keys)) for keys in store.asked)


def hostile_records() -> list[tuple[str, Record]]:
    return [
        (event.case, Record(event.value, f"id-{n}", event.timestamp, f"{event.topic}/0", n))
        for n, event in enumerate(hostile(3000))
    ]


def test_hostile_records_have_one_outcome_each() -> None:
    """Whatever comes is a document or a dead letter with a stage and a reason."""
    cases = hostile_records()
    outcomes = process(plan_with(Store(USERS)), [record for _, record in cases])
    kinds: Counter[tuple[str, str]] = Counter()
    for (case, record), outcome in zip(cases, outcomes, strict=True):
        assert outcome.record is record
        kinds[case, type(outcome).__name__] += 1
        if isinstance(outcome, DeadLetter):
            assert outcome.stage == "json", outcome
            assert outcome.error, outcome
            assert outcome.reason, outcome
        else:
            assert isinstance(outcome, Document)
            assert type(orjson.loads(outcome.body)) is dict
            assert outcome.index.rpartition("-")[0] in {
                *("payment-logs", "payment-critical-logs", "fraud-logs", "application-logs"),
            }
            assert len(outcome.id.encode()) <= 512
    for case in DEAD_LETTER_CASES:
        assert kinds[case, "Document"] == 0, case
    for case in set(CASES) - DEAD_LETTER_CASES - {"key_nul", "float_overflow"}:
        assert kinds[case, "Document"] > 0, case


ROUNDS = 90
"""Enough for each variant of nearly every case."""
SOUND = {
    *("depth_64", "duplicate_key", "edge_integer", "key_inner_dot", "text_number", "wrong_type"),
    *("timestamp", "address", "vpa", "injection", "missing_fields", "long_text", "many_keys"),
}


@pytest.fixture(scope="module")
def odd_records() -> dict[str, list[Record]]:
    """Keep the hostile records that are well formed, by case."""
    found: dict[str, list[Record]] = {case: [] for case in SOUND}
    for n, event in enumerate(hostile(len(CASES) * ROUNDS)):
        if event.case in SOUND:
            record = Record(event.value, f"id-{n}", event.timestamp, f"{event.topic}/0", n)
            found[event.case].append(record)
    return found


@pytest.mark.parametrize("case", sorted(SOUND))
def test_odd_events_follow_the_rules_too(case: str, odd_records: dict[str, list[Record]]) -> None:
    """Wrong types, odd times, addresses and amounts: the oracle's document, key for key."""
    records = odd_records[case]
    assert len(records) == ROUNDS
    for record, outcome in zip(records, process(plan_with(Store(USERS)), records), strict=True):
        check(record, outcome)
