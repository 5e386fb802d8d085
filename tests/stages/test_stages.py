"""What the other stages do at their edges."""

from __future__ import annotations

from typing import Any

import pytest

from enricher.build import build
from enricher.config import load

from .running import event_of, plan_of


def failures(event: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = event.get("failures", {})
    assert event.get("tags", []) == [f"_{name}_failure" for name in found]
    return found


def test_set_writes_in_the_order_of_the_file() -> None:
    """A copy sees what stood before it, not what comes after."""
    plan = plan_of("set: {fields: {old: '{x}', x: 1, y: '{x}', z: 2, w: '{z}/{y}', v: 3}}")
    assert event_of(plan, {"x": 0}) == {"x": 1, "old": 0, "y": 1, "z": 2, "w": "2/1", "v": 3}
    plan = plan_of("set: {fields: {a: 1, a.b: 2}}")
    assert failures(event_of(plan, {})) == {"set": "a is no object"}


def test_set_keeps_types_and_leaves_out_what_is_missing() -> None:
    fields = "{a: '{o}', b: '{missing}', c: 'x{missing}', d: [1, '{o}'], e: ''}"
    plan = plan_of(f"set: {{fields: {fields}}}")
    event = event_of(plan, {"o": {"p": [1]}})
    assert event == {"o": {"p": [1]}, "a": {"p": [1]}, "d": [1, "{o}"], "e": ""}


def test_rename_loses_nothing() -> None:
    """Where the new place is taken by something else, the old one keeps the value."""
    plan = plan_of("rename: {fields: {a: b.c, x: y}}")
    event = event_of(plan, {"a": 1, "b": "text", "x": 2})
    assert failures(event) == {"rename": "b is no object"}
    assert event["a"] == 1
    assert event["b"] == "text"
    assert event_of(plan, {"a": 0, "x": None}) == {"b": {"c": 0}, "x": None}
    assert event_of(plan_of("rename: {fields: {a: a.b}}"), {"a": 1}) == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        ("number", "12", 12),
        ("number", " -1.5e3\n", -1500.0),
        ("number", ".5", 0.5),
        ("number", "5.", 5.0),
        ("number", 7, 7),
        ("number", "9" * 18, int("9" * 18)),
        ("integer", "12", 12),
        ("integer", 12.0, 12),
        ("integer", "12.0", 12),
        ("boolean", " True ", True),
        ("boolean", "false", False),
        ("text", 5, "5"),
        ("text", True, "true"),
        ("text", [1, "a"], '[1,"a"]'),
    ],
)
def test_convert(kind: str, value: object, result: object) -> None:
    event = event_of(plan_of(f"convert: {{field: a, target: b.c, type: {kind}}}"), {"a": value})
    assert event == {"a": value, "b": {"c": result}}
    assert type(event["b"]["c"]) is type(result)
    assert event_of(plan_of(f"convert: {{field: a, type: {kind}}}"), {"a": value}) == {"a": result}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("number", text) for text in ("abc", "", " ", "1_000", "0x10", "NaN", "inf", "1e400")),
        *(("number", text) for text in ("١٢", "--5", "1e", "9" * 19, "9" * 500)),
        *[("number", True), ("number", []), ("number", {})],
        *[("integer", 1.5), ("integer", "1.5"), ("integer", 1e300), ("integer", "1e300")],
        *[("integer", True), ("integer", "abc"), ("integer", -(2.0**64))],
        *[("boolean", "yes"), ("boolean", "1"), ("boolean", 1), ("boolean", 0), ("boolean", "")],
    ],
)
def test_convert_refuses(kind: str, value: object) -> None:
    """A failure, and the field stays as it is."""
    event = event_of(plan_of(f"convert: {{field: a, type: {kind}}}"), {"a": value})
    assert event["a"] == value
    assert set(failures(event)) == {"convert"}


@pytest.mark.parametrize("kind", ["number", "integer", "boolean", "text"])
def test_null_is_as_absent(kind: str) -> None:
    plan = plan_of(
        f"convert: {{field: a, type: {kind}}}",
        "bucket: {field: a, ranges: [{set: {b: 1}}]}",
        "translate: {field: a, target: b, table: {}, default: 1}",
        "normalize: {field: a, lower: true}",
        "extract: {field: a, pattern: '(?P<b>.*)'}",
        "time_of_day: {field: a, parts: [{hours: 0-23, set: {b: 1}}]}",
        "calendar: {field: a, periods: [{from: 01-01, to: 12-31, set: {b: 1}}]}",
        "geoip: {field: a, country: b}",
        "rename: {fields: {a: b}}",
        "lookup: {key: 'x{a}', target: b}",
    )
    assert event_of(plan, {"a": None}) == {"a": None}
    assert event_of(plan, {}) == {}


def test_wrong_types_are_tagged() -> None:
    """Each stage names itself and the field."""
    for stage, name in (
        ("bucket: {field: a, ranges: [{set: {b: 1}}]}", "bucket"),
        ("normalize: {field: a, lower: true}", "normalize"),
        ("extract: {field: a, pattern: '(?P<b>.*)'}", "extract"),
        ("time_of_day: {field: a, parts: [{hours: 0-23, set: {b: 1}}]}", "time_of_day"),
        ("calendar: {name: c, field: a, periods: [{from: 01-01, to: 12-31, set: {b: 1}}]}", "c"),
        ("geoip: {field: a, country: b}", "geoip"),
    ):
        event = event_of(plan_of(stage), {"a": ["x"]})
        assert failures(event)[name].startswith("a is")
        assert "b" not in event


def test_translate_writes_keys_as_json_does() -> None:
    table = "{'true': yes, '5': five, '2.5': half, '[1]': list}"
    plan = plan_of(f"translate: {{field: a, target: b, table: {table}}}")
    found = {True: "yes", 5: "five", 2.5: "half"}
    for value, text in found.items():
        assert event_of(plan, {"a": value})["b"] == text
    assert event_of(plan, {"a": [1]})["b"] == "list"
    assert event_of(plan, {"a": "else"}) == {"a": "else"}


def test_extract() -> None:
    plan = plan_of("extract: {field: a, pattern: '^(?P<one>\\w+)(?:-(?P<two>\\w+))?', lower: true}")
    assert event_of(plan, {"a": "AB-Cd"}) == {"a": "AB-Cd", "one": "ab", "two": "cd"}
    assert event_of(plan, {"a": "AB"}) == {"a": "AB", "one": "ab"}
    assert event_of(plan, {"a": "-"}) == {"a": "-"}
    assert event_of(plan, {"a": "é₹"}) == {"a": "é₹"}


def test_pathological_pattern_takes_linear_time() -> None:
    """What would take a backtracking engine for ever is done at once."""
    plan = plan_of("extract: {field: a, pattern: '(?P<b>(a+)+)$'}")
    event_of(plan, {"a": "a" * 100_000 + "!"})


def test_bucket_and_score_bounds() -> None:
    plan = plan_of(
        "bucket: {field: a, ranges: [{below: 0, set: {b: neg}}, {below: 1.5, set: {b: small}}]}",
        "score: {target: s, rules: [{when: a > 1, add: 2, reason: x},"
        " {when: a > 2, add: 2, reason: y}], cap: 3,"
        " levels: [{at_least: 3, set: {l: high}}, {at_least: 2, set: {l: mid}}]}",
    )
    assert event_of(plan, {"a": -0.1}) == {"a": -0.1, "b": "neg", "s": 0}
    assert event_of(plan, {"a": 0}) == {"a": 0, "b": "small", "s": 0}
    assert event_of(plan, {"a": 1.49})["b"] == "small"
    assert event_of(plan, {"a": 1.5}) == {"a": 1.5, "s": 2, "l": "mid"}
    assert event_of(plan, {"a": 5}) == {"a": 5, "s": 3, "l": "high"}


def test_many_rules_and_levels() -> None:
    """More than is unrolled."""
    rules = ", ".join(f"{{when: a > {n}, add: 1, reason: r{n}}}" for n in range(40))
    levels = ", ".join(f"{{at_least: {n}, set: {{l: {n}}}}}" for n in range(40, 0, -1))
    plan = plan_of(f"score: {{target: s, reasons: w, rules: [{rules}], levels: [{levels}]}}")
    event = event_of(plan, {"a": 35})
    assert (event["s"], event["l"], len(event["w"])) == (35, 35, 35)
    thirty = levels.split(", {")
    short = ", {".join(thirty[:30])
    plan = plan_of(f"score: {{target: s, rules: [{rules}], levels: [{short}]}}")
    assert event_of(plan, {"a": 35})["l"] == 35
    assert "l" not in event_of(plan, {"a": 5})


def test_python_stage_changes_a_copy(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that fails halfway leaves the event as it was."""
    (tmp_path / "own_rules_x.py").write_text(
        "def change(event):\n    event['b'] = 1\n    del event['a']\n    event['n'] / event['d']\n"
    )
    file = tmp_path / "p.yaml"
    file.write_text(
        "name: p\nallow_python: true\n"
        "stages: [json: {}, python: {function: 'own_rules_x:change'}]\n"
        "routes: [elasticsearch: {index: l}]\n"
    )
    plan = build(load(file, {}))
    assert event_of(plan, {"a": {"x": 1}, "n": 1, "d": 1}) == {"b": 1, "n": 1, "d": 1}
    event = event_of(plan, {"a": {"x": 1}, "n": 1, "d": 0})
    assert failures(event) == {"python": "ZeroDivisionError: division by zero"}
    assert event["a"] == {"x": 1}
    assert "b" not in event


def test_remove_and_drop() -> None:
    plan = plan_of("remove: {fields: [a.b, c, d.e.f]}")
    event = event_of(plan, {"a": {"b": 1, "x": 2}, "c": 3, "d": "text"})
    assert event == {"a": {"x": 2}, "d": "text"}
