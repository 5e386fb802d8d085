"""The fast way: which events take it, which do not, and that the bet is given up in time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from enricher.build import build
from enricher.config import load
from enricher.fast import build_fast
from enricher.fragments import MAX_TEXTS, Rows, Texts, Unfit, fragment
from enricher.generator import generate, hostile
from enricher.model import DeadLetter, Document, Record, Shared
from enricher.plan import ENOUGH, MOST_NAMES, MOST_ROUNDS, SEEN, Bet, Plan

PAYMENTS = Path(__file__).parent.parent / "pipelines" / "payments.yaml"


def records_of(values: list[bytes], timestamp: int | None = 1_761_040_929_118) -> list[Record]:
    return [Record(value, f"id-{n}", timestamp, "t/0", n) for n, value in enumerate(values)]


def plan_of(folder: Path, stages: str, rest: str = "") -> Plan:
    file = folder / "p.yaml"
    routes = "routes: [{elasticsearch: {index: logs}}]"
    file.write_text(f"name: p\nstages:\n  - json: {{}}\n{stages}\n{rest or routes}\n")
    return build(load(file, {}))


def unfit(plan: Plan, values: list[bytes]) -> list[int]:
    """Give the numbers of the records that are unfit for the fast way."""
    records = records_of(values)
    fast = plan.bet.fast(plan, records)
    assert fast is not None
    events, outcomes = plan.start(records, plan.decode.quickly)
    return asyncio.run(fast.run(records, events, outcomes))


def bodies(plan: Plan, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    outcomes = asyncio.run(plan.process(records_of([orjson.dumps(event) for event in events])))
    assert all(isinstance(outcome, Document) for outcome in outcomes)
    return [orjson.loads(outcome.body) for outcome in outcomes if isinstance(outcome, Document)]


def test_ordinary_payments_take_the_fast_way() -> None:
    """Those that fail a stage, too: none of 2,000 realistic events is unfit."""
    plan = build(load(PAYMENTS, {}))
    assert unfit(plan, [event.value for event in generate(2000)]) == []


def test_what_brings_added_fields_or_bad_names_does_not() -> None:
    """It goes the plain way, where own values are minded and bad names are refused."""
    plan = build(load(PAYMENTS, {}))
    ordinary = b'{"service":"payment-service","timestamp":"2025-10-20T10:15:30Z"}'
    values = [
        ordinary,
        ordinary.replace(b"{", b'{"bank_name":"mine",'),
        ordinary.replace(b"{", b'{"a.":1,'),
        b"{}",
        ordinary.replace(b"2025", b"never"),
        ordinary.replace(b"{", b'{"a":{"b.":1},'),
        ordinary,
    ]
    unfit(plan, [ordinary])
    assert unfit(plan, values) == [1, 2, 3, 4]


def test_events_that_bring_what_is_added_are_learnt(tmp_path: Path) -> None:
    """A field that comes along with most events is written to them, from the next batch on."""
    plan = plan_of(tmp_path, "  - set: {fields: {a: 1}}\n  - set: {fields: {b: 2}}")
    assert bodies(plan, [{"x": 0}]) == [{"x": 0, "a": 1, "b": 2}]
    brings = [{"x": 0, "a": 9}] * (ENOUGH + 1)
    assert bodies(plan, brings)[0] == {"x": 0, "a": 1, "b": 2}
    assert unfit(plan, [orjson.dumps(brings[0])]) == []
    assert bodies(plan, brings)[0] == {"x": 0, "a": 1, "b": 2}


def test_a_bet_that_is_always_lost_is_given_up(tmp_path: Path) -> None:
    """After so many attempts all events go the plain way, once, and not twice."""
    stages = "".join(f"  - set: {{fields: {{f{n}: {n}}}}}\n" for n in range(20))
    plan = plan_of(tmp_path, stages)
    added = {f"f{n}": n for n in range(20)}
    for number in range(2 * MOST_ROUNDS + 2):
        event = {"x": 0, f"f{number}": "mine"}
        assert bodies(plan, [event] * (SEEN + ENOUGH))[0] == {"x": 0, **added}
    assert plan.bet.fast(plan, []) is None


@pytest.mark.parametrize(
    ("stages", "rest"),
    [
        ("  - set: {fields: {a: null}}", ""),
        ("  - lookup: {key: 'k:{b}', target: c}", ""),
        ("  - set: {fields: {user: '{x}'}}\n  - lookup: {key: 'k:{user}', target: c}", ""),
    ],
)
def test_what_cannot_be_overlaid_goes_the_plain_way(tmp_path: Path, stages: str, rest: str) -> None:
    """A null that is written; a look-up by something that an earlier stage writes."""
    plan = plan_of(tmp_path, stages, rest)
    fast = build_fast(plan.decode, plan.steps, plan.ending, frozenset())
    assert (fast is None) == ("b" not in stages)
    assert bodies(plan, [{"x": "1"}])


@pytest.mark.parametrize("stage", ["rename: {fields: {x: a}}", "remove: {fields: [x]}"])
def test_an_event_that_loses_all_it_brought(tmp_path: Path, stage: str) -> None:
    """The added fields are then all that there is: no comma stands before them."""
    plan = plan_of(tmp_path, f"  - {stage}\n  - set: {{fields: {{b: 1}}}}")
    moved = {"a": 1} if stage.startswith("rename") else {}
    assert bodies(plan, [{"x": 1}, {"x": 1, "y": 2}]) == [
        moved | {"b": 1},
        moved | {"y": 2, "b": 1},
    ]


def test_a_constant_that_cannot_be_written(tmp_path: Path) -> None:
    """YAML has longer integers than JSON's writer: the record's dead letter, and no crash."""
    plan = plan_of(tmp_path, f"  - set: {{fields: {{a: {2**70}}}}}")
    outcome = asyncio.run(plan.process(records_of([b'{"x":1}'])))[0]
    assert isinstance(outcome, DeadLetter)
    assert "64-bit" in outcome.reason


def test_a_name_that_python_reads_as_another(tmp_path: Path) -> None:
    """The micro sign stays the micro sign, wherever its field is kept."""
    stages = "".join(f"  - set: {{when: 'x >= {n}', fields: {{µs: {n}}}}}\n" for n in (1, 2))
    plan = plan_of(tmp_path, stages)
    assert bodies(plan, [{"x": 1}, {"x": 2}, {"x": 0}]) == [
        {"x": 1, "µs": 1},
        {"x": 2, "µs": 2},
        {"x": 0},
    ]
    assert unfit(plan, [b'{"x":1}']) == []


def test_who_makes_names_up_is_not_followed_for_ever() -> None:
    """Nor is a name remembered that is as long as a record."""
    bet = Bet()
    for number in range(2 * MOST_NAMES):
        bet.lose([{f"name {number}": 1, "x" * 1000: 2}])
    assert len(bet._present) == MOST_NAMES
    assert max(map(len, bet._present)) < 100


def test_hostile_events_have_one_outcome_each() -> None:
    """In one batch with ordinary ones, in order."""
    plan = build(load(PAYMENTS, {}))
    values = [event.value for event in generate(300)]
    values[::3] = [event.value for event in hostile(100)]
    outcomes = asyncio.run(plan.process(records_of(values)))
    assert [outcome.record.id for outcome in outcomes] == [f"id-{n}" for n in range(300)]


def test_a_row_is_that_of_its_plan_alone() -> None:
    """An answer that outlives its plan gets a row of the next one's."""
    values = Shared({"a": 1, "b": 2})
    for rows, piece, read in (
        (Rows(frozenset(), ["a"]), b',"a":1,"b":2', (1,)),
        (Rows(frozenset("a"), ["b", "a"]), b',"b":2', (2, 1)),
    ):
        assert values.owner is not rows
        rows.make(values)
        assert (values.owner, values.piece, values.row) == (rows, piece, read)


def test_fields_that_no_cache_holds_make_no_row() -> None:
    """The plain way writes them."""
    with pytest.raises(Unfit):
        Rows(frozenset(), ["a"]).make({"a": 1})  # type: ignore[arg-type]


def test_what_is_remembered_is_bounded() -> None:
    """Texts that never come again."""
    texts = Texts("a")
    for number in range(MAX_TEXTS + 100):
        assert texts[f"{number}"] == b',"a":"%d"' % number
    assert texts["x" * 1000] == b',"a":"' + b"x" * 1000 + b'"'
    assert len(texts) == MAX_TEXTS


def test_what_is_no_piece_of_json_is_unfit() -> None:
    """A null, since absent fields are nulls there, and what orjson does not write."""
    assert fragment({}, frozenset()) == b""
    assert fragment({"a": 1, "b": "x"}, frozenset("a")) == b',"b":"x"'
    for values in ({"a": None}, {"a": 2**65}, {"a": "\ud800"}):
        with pytest.raises(Unfit):
            fragment(values, frozenset())
