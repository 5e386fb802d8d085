"""Templates fill in what is there, and never write a field's name in its place."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.template import Part, as_text, lenient_renderer, parse, renderer

EVENT: dict[str, Any] = {
    "a": "x",
    "n": 12499.5,
    "i": 5,
    "yes": True,
    "zero": 0,
    "empty": "",
    "null": None,
    "o": {"a": "deep", "list": [1, "₹"]},
    "a.b": "dotted",
    "@timestamp": "2025-10-20T15:45:30.123+05:30",
    "braces": "{a}",
}


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ("plain", "plain", "plain"),
        ("", "", ""),
        ("{a}", "x", "x"),
        ("₹{n} - {i}", "₹12499.5 - 5", "₹12499.5 - 5"),
        ("{yes} {zero}", "true 0", "true 0"),
        ("{o.a}/{['a.b']}", "deep/dotted", "deep/dotted"),
        ("{o}", '{"a":"deep","list":[1,"₹"]}', '{"a":"deep","list":[1,"₹"]}'),
        ("{{a}} {{", "{a} {", "{a} {"),
        ("{missing}", None, "–"),
        ("id-{missing}", None, "id-–"),
        ("{empty}{a}", None, "–x"),
        ("{null}", None, "–"),
        ("{o.missing.deeper}", None, "–"),
        ("{a.b}", None, "–"),
        ("{@timestamp:%Y.%m.%d}", "2025.10.20", "2025.10.20"),
        ("{@timestamp:%H}h {@timestamp}", "15h 2025-10-20T15:45:30.123+05:30",
         "15h 2025-10-20T15:45:30.123+05:30"),
        ("{a:%Y}", None, "–"),
        ("{missing:%Y}", None, "–"),
        ("{braces}", "{a}", "{a}"),
    ],
)  # fmt: skip
def test_fill_in(text: str, strict: str | None, lenient: str) -> None:
    """A missing or empty field makes no text at all, or a dash for people."""
    assert renderer(text)(EVENT) == strict
    assert lenient_renderer(text)(EVENT) == lenient


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a", 'a single "{"'),
        ("a}", 'a single "}"'),
        ("{}", "must not be empty"),
        ("{a b}", "is no field path"),
        ("{a..b}", "is no field path"),
        ("{a:%S}", "is no time format"),
        ("{a:%M}", "is no time format"),
        ("{a:%Y%n}", "is no time format"),
        ("{a!r}{b.}", "is no field path"),
        ("{$nwo}", 'did you mean "now"'),
        ("{$x}", "there are now, hostname"),
        ("{a:>10}", "is no field path"),
    ],
)
def test_mistakes_are_told(text: str, message: str) -> None:
    """What is wrong with a template is said when the file is read."""
    with pytest.raises(ValueError, match=message.replace("$", r"\$")):
        parse(text)


def test_builtins() -> None:
    """`{$name}` is asked for each time; both ways know it."""
    count = iter(range(10))
    builtins = {"now": lambda: f"t{next(count)}", "pipeline": lambda: "p"}
    render = renderer("{$now} {a}", builtins)
    lenient = lenient_renderer("{$pipeline} {b}", builtins)
    assert [render(EVENT), render(EVENT)] == ["t0 x", "t1 x"]
    assert lenient(EVENT) == "p –"


def test_event_data_is_no_format() -> None:
    """Values hold no templates, fields no attributes."""
    assert renderer("{a}")({"a": "{b.__class__} %s {0}"}) == "{b.__class__} %s {0}"
    assert renderer("{a.__class__}")({"a": "x"}) is None


def test_parts() -> None:
    assert parse("x{a.b}{{{@timestamp:%Y}") == (
        Part("x"),
        Part("", ("a", "b")),
        Part("{"),
        Part("", ("@timestamp",), "%Y"),
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (False, "false"), (5, "5"), (-0.5, "-0.5"), ([1], "[1]")]
    + [({"a": "b"}, '{"a":"b"}'), (date(2025, 10, 20), "2025-10-20")],
)
def test_as_text(value: object, text: str) -> None:
    assert as_text(value) == text


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_any_literal_and_value_come_out_as_they_are(literal: str, value: str) -> None:
    """Escaped braces are the only syntax, and values pass untouched."""
    text = literal.replace("{", "{{").replace("}", "}}")
    assert renderer(f"{text}{{v}}")({"v": value}) == (literal + value if value else None)
    assert renderer(text)({}) == literal


@given(st.text(max_size=20))
def test_any_text_is_a_template_or_a_told_mistake(text: str) -> None:
    """Nothing but ValueError comes out of a bad one."""
    try:
        parse(text)
    except ValueError as error:
        assert str(error)
        return
    lenient_renderer(text, dict.fromkeys(("now", "hostname", "version", "pipeline"), str))({})
