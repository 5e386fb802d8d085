"""What the lookup stage asks, reads and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from enricher.build import build
from enricher.config import load
from enricher.inline_tests import run_tests
from enricher.lookups.value import MAX_DEPTH
from enricher.model import ConfigError, DeadLetter, Document, Record
from enricher.plan import Plan
from tests.lookups.stores import AWAY, Store

from .running import event_of, outcome_of, plan_of

DEEP = b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH
WIDE = b'{"a":[' + b",".join([b"[]"] * 100) + b"]}"
LOOKUP = "lookup: {key: 'u:{id}', target: u}"


def failures(event: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = event.get("failures", {})
    assert event.get("tags", []) == [f"_{name}_failure" for name in found]
    return found


@pytest.mark.parametrize(
    ("stored", "failure"),
    [
        (b'{"a": 1}', None),
        (b"{}", None),
        (WIDE, None),
        (DEEP, None),
        (b'{"b":' + DEEP + b"}", f"the stored value is nested deeper than {MAX_DEPTH}"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, f"the stored value is nested deeper than {MAX_DEPTH}"),
        (b"[1]", "the stored value is no JSON object"),
        (b"null", "the stored value is no JSON object"),
        (b'{"a"', "the stored value is not JSON"),
        (b'{"a": "\xff"}', "the stored value is not JSON"),
        (b"", "the stored value is not JSON"),
    ],
)
def test_stored_values(stored: bytes, failure: str | None) -> None:
    plan = plan_of(LOOKUP, lookups=Store({"u:1": stored}))
    event = event_of(plan, {"id": 1})
    assert failures(event) == ({"lookup": failure} if failure else {})
    assert ("u" in event) == (failure is None)


def test_keys() -> None:
    """No key, no question; a key that is too long, in bytes, is a failure and is not asked."""
    store = Store({})
    plan = plan_of("lookup: {key: 'u:{id}', target: u, max_key_bytes: 10}", lookups=store)
    for nobody in ({}, {"id": ""}, {"id": None}, {"id": "12345678"}):
        assert event_of(plan, nobody) == nobody
    assert store.asked == [["u:12345678"]]
    for long in ("123456789", "₹₹₹"):
        assert "longer than 10 bytes" in failures(event_of(plan, {"id": long}))["lookup"]
    assert store.asked == [["u:12345678"]]


def test_away_fails_those_that_asked() -> None:
    store = Store({})
    store.is_away = True
    plan = plan_of(LOOKUP, lookups=store)
    assert failures(event_of(plan, {"id": 1})) == {"lookup": AWAY}
    assert event_of(plan, {}) == {}
    plan = plan_of("lookup: {key: 'u:{id}', target: u, on_error: dead_letter}", lookups=store)
    letter = outcome_of(plan, {"id": 1})
    assert isinstance(letter, DeadLetter)
    assert (letter.stage, letter.reason) == ("lookup", AWAY)


@pytest.mark.parametrize(
    ("stage", "fields"),
    [
        ("hash: true", ()),
        ("hash: true, fields: [a, b]", ("a", "b")),
        ("hash: true, fields: [a], numbers: {n: b, m: c.d}", ("a", "b", "c")),
        ("fields: [a]", None),
    ],
)
def test_what_is_asked_of_a_hash(stage: str, fields: tuple[str, ...] | None) -> None:
    """All of it, or the fields that are kept and those that numbers come from."""
    store = Store({"u:1": b'{"a": "x", "b": "2", "z": "y"}'})
    plan = plan_of(f"lookup: {{key: 'u:{{id}}', target: u, {stage}}}", lookups=store)
    event = event_of(plan, {"id": 1})
    (asked,) = store.hash_fields
    assert asked == (None if fields is None else list(fields))
    kept = [name for name in ("a", "b", "z") if "fields" not in stage or name in event["u"]]
    assert list(event["u"]) == kept
    assert "z" in event["u"] or "fields" in stage
    assert event.get("n") == (2 if "numbers" in stage else None)


def test_an_object_without_any_wanted_field_is_as_none() -> None:
    """As an HMGET has it, whatever answers."""
    store = Store({"u:1": b'{"z": 1}'})
    plan = plan_of("lookup: {key: 'u:{id}', target: u, fields: [a, b]}", lookups=store)
    assert event_of(plan, {"id": 1}) == {"id": 1}


@pytest.mark.parametrize(
    ("stage", "problem"),
    [
        ("key: '{id}'", 'key: begin "{id}" with a fixed text, such as "user:{id}"'),
        ("key: '{$pipeline}:{id}'", "begin "),
        ("key: ''", "begin "),
        ("key: 'u:{id}', file: t.csv", "file: only with `from: file`"),
        ("key: 'u:{id}', from: file", "from: file needs file and key_field, such as"),
        ("key: '{id}', from: file, file: t.csv", "from: file needs file and key_field"),
        (
            "key: '{id}', from: file, file: t.csv, key_field: id, cache_s: 1, hash: true",
            "cache_s, hash: only with `from: redis`",
        ),
        ("key: 'u:{id}', from: disk", "from: "),
    ],
)
def test_what_does_not_fit(stage: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_of(f"lookup: {{target: u, {stage}}}")
    assert problem in str(caught.value)
    assert "stages[1].lookup" in str(caught.value)


def table_plan(folder: Path, name: str, text: str, rest: str = "") -> Plan:
    (folder / name).write_text(text)
    file = folder / "p.yaml"
    file.write_text(
        "name: p\nstages:\n  - json: {}\n  - lookup: {from: file, key: '{id}', target: t, "
        f"key_field: id, file: {name}{rest}}}\nroutes: [{{elasticsearch: {{index: l}}}}]\n"
    )
    return build(load(file, {}))


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_table(tmp_path: Path, name: str) -> None:
    """Rows by their key, with no prefix; a row that is not there changes nothing."""
    csv = name.endswith(".csv")
    text = "id,city,n\n7,Pune,1.5\n₹,,\n" if csv else '{"id": 7, "city": "Pune", "n": 1.5}\n'
    plan = table_plan(tmp_path, name, text, ", numbers: {m: n}")
    row = {"id": "7", "city": "Pune", "n": "1.5"} if csv else {"id": 7, "city": "Pune", "n": 1.5}
    assert event_of(plan, {"id": 7}) == {"id": 7, "t": row, "m": 1.5}
    assert event_of(plan, {"id": "8"}) == {"id": "8"}
    if csv:
        assert event_of(plan, {"id": "₹"}) == {"id": "₹", "t": {"id": "₹"}}


async def test_inline_tests_read_the_table(tmp_path: Path) -> None:
    """It is a part of the pipeline, as the table of a `translate` is; `lookups:` stand for Redis."""
    table_plan(tmp_path, "t.csv", "id,a\n1,x\n")
    file = tmp_path / "p.yaml"
    text = file.read_text()
    file.write_text(
        f"{text}tests:\n  - {{name: one, given: {{id: 1}}, lookups: {{'1': {{a: no}}}}, "
        "expect: {event: {t: {id: '1', a: x}}}}\n"
    )
    (result,) = await run_tests(load(file, {}))
    assert result.passed, result.differences


def test_only_what_is_wanted_of_a_table(tmp_path: Path) -> None:
    plan = table_plan(tmp_path, "t.csv", "id,a,b,n\n1,x,y,2\n", ", fields: [a], numbers: {m: n}")
    assert event_of(plan, {"id": "1"}) == {"id": "1", "t": {"a": "x"}, "m": 2}


def test_a_bad_table_is_told_with_its_line(tmp_path: Path) -> None:
    """By the place of the stage, and by that of the row; so is one that is not there."""
    with pytest.raises(ConfigError) as caught:
        table_plan(tmp_path, "t.csv", "id,city\n1\n")
    assert "p.yaml:4:5: stages[1].lookup: " in str(caught.value)
    assert "t.csv:2: 1 cells, the header has 2 columns" in str(caught.value)
    (tmp_path / "t.csv").unlink()
    with pytest.raises(ConfigError, match="No such file or directory"):
        build(load(tmp_path / "p.yaml", {}))


async def test_one_event_cannot_fail_its_batch(tmp_path: Path) -> None:
    """Whatever is in the field that makes the key: each event has its own answer."""
    values = [
        "1",
        "",
        None,
        "x" * 10_000,
        "\x00",
        "a\r\nDEL u:1\r\n",
        "{}",
        "*",
        ["1"],
        {"a": "1"},
        1,
    ]
    store = Store({"u:1": b'{"a": 1}', 'u:["1"]': b"no", "u:\x00": b'{"b": 2}'})
    file = tmp_path / "p.yaml"
    file.write_text(
        f"name: p\nstages:\n  - json: {{}}\n  - {LOOKUP}\nroutes: [{{elasticsearch: {{index: l}}}}]\n"
    )
    plan = build(load(file, {}), store)
    records = [
        Record(orjson.dumps({"id": value}), str(n), None, "f", n) for n, value in enumerate(values)
    ]
    outcomes = await plan.process(records)
    events = [orjson.loads(one.body) for one in outcomes if isinstance(one, Document)]
    assert [event.get("u") for event in events] == [
        {"a": 1}, None, None, None, {"b": 2}, None, None, None, None, None, {"a": 1},
    ]  # fmt: skip
    assert [list(event.get("failures", {})) for event in events] == [
        [], [], [], ["lookup"], [], [], [], [], ["lookup"], [], [],
    ]  # fmt: skip
    (asked,) = store.asked
    assert len(asked) == len(set(asked))
