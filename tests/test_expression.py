"""Conditions mean what they say, and never fail on any event."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.expression import (
    MAX_DEPTH,
    MAX_LENGTH,
    ExpressionError,
    compile_predicate,
)
from enricher.functions import FUNCTIONS
from enricher.fuse import Fuser

EVENT: dict[str, Any] = {
    "n": 5,
    "f": 2.5,
    "zero": 0,
    "t": "text",
    "empty": "",
    "yes": True,
    "no": False,
    "null": None,
    "list": ["a", 1, None],
    "object": {"n": 7, "deep": {"t": "x"}, "a.b": 3},
    "a.b": {"c.d": "dotted"},
    "@timestamp": "2025-10-20",
    "number_text": "5",
}

TRUE = [
    'n == 5 and t == "text"',
    "n == 5.0",
    "n != 6 and missing != 5",
    "missing == null and null == null and missing == None",
    "yes == true and no == false and yes == True",
    "n > 4 and n >= 5 and n < 6 and n <= 5",
    "4 < n and 4 < n < 6 < 7",
    "f < n and n > f",
    '"a" < t and t < "u" and t >= t',
    "not missing and not empty and not zero and not no",
    "t and yes and list and object and n",
    "missing or n",
    'n in [4, 5] and t in ("text", "other") and null in [null]',
    'missing not in [1, "a"]',
    '"ex" in t and "z" not in t',
    '"a" in list and 1 in list and null in list and "b" not in list',
    '"deep" in object and "t" in object.deep and "x" not in object',
    "object.n == 7 and object.deep.t == 'x' and object['a.b'] == 3",
    '["a.b"]["c.d"] == "dotted"',
    '@timestamp == "2025-10-20" and @timestamp > "2025"',
    "n + f == 7.5 and n - f == 2.5 and n * f == 12.5 and n / f == 2",
    "n + 1 > 5 and 2 * n == 10",
    "-1 < n and n > -5.5 and zero in [-1, 0]",
    'lower("ABC") == "abc" and upper(t) == "TEXT" and length(list) == 3 and length(t) == 4',
    "length(object) == 3 and length(n) == null and lower(n) == null",
    'starts_with(t, "te") and ends_with(t, "xt") and not starts_with(n, "5")',
    r'matches(t, "^t.x\w$") and not matches(n, "5") and matches(t, "")',
    r'matches(t, r"\btext\b")',
    "is_number(n) and is_number(f) and not is_number(yes) and not is_number(number_text)",
    'n == 5 and (t == "x" or (f == 2.5 and not no))',
    "n < 1e999 and n > -1e999",
    'object == object and list == list and "#" != "@ in a text"',
]
FALSE = [
    "n == '5' or number_text == 5",
    "missing > 1 or missing < 1 or missing >= 1 or missing <= 1 or 1 > missing",
    "null > 0 or null < 0 or missing > missing or missing == 5",
    'n > "4" or t > 5 or t < 5 or number_text > 4',
    "yes > 0 or no < 1 or yes >= yes",
    "list > list or object < object or list > 1",
    '"a" in missing or "a" in n or 5 in t or n in t or list in list or "t" in yes',
    "t.x or t.x.y == 1 or n.a > 1 or list.a or object.n.deep",
    "n / zero == 0 or n / zero > 0 or n / zero < 0 or t + 1 == 1 or yes + 1 == 2",
    "missing + 1 > 0 or missing * 0 == 0",
    "4 < n < 5 or 5 < missing < 7",
    'not t or "A" == "a" or length(missing) == 0',
    'starts_with(missing, "") or ends_with(t, missing) or matches(missing, "")',
    "missing.a.b.c or object.deep.t.x",
    'missing in ["a", 1]',
    "is_number(missing) or is_number(null)",
]


@pytest.mark.parametrize("text", TRUE)
def test_true(text: str) -> None:
    assert compile_predicate(text)(EVENT)


@pytest.mark.parametrize("text", FALSE)
def test_false(text: str) -> None:
    for part in text.split(" or "):
        assert not compile_predicate(part)(EVENT), part
    assert not compile_predicate(text)(EVENT)


@pytest.mark.parametrize(
    ("text", "message", "at"),
    [
        ('level = "ERROR"', "write ==", "= "),
        ("n == ", "bad expression", None),
        ("", "bad expression", ""),
        ("n == 1 and and t", "bad expression", "and t"),
        ("a == (1", "bad expression", "("),
        ("n == 1 and lowr(t)", 'unknown function "lowr" (did you mean "lower"?)', "lowr"),
        ('@timestamp == "é" and foo(n)', 'unknown function "foo"', "foo"),
        ("lower(t, n)", "takes 1 argument", "lower"),
        ('starts_with(t, prefix="t")', "takes 2 arguments", "starts_with"),
        ("n is 5", "write == and !=", "n is"),
        ("n in [t]", "a list may hold", "t]"),
        ("n in [1, lower(t)]", "a list may hold", "lower"),
        ("n == +t", "only comparisons", "+t"),
        ("min(n)", "takes 2 to 16 arguments", "min"),
        ("round(n, 1, 2)", "takes 1 to 2 arguments", "round"),
        ("n if t else f", "only comparisons", "n if"),
        ("lambda: n", "only comparisons", "lambda"),
        ("[x for x in list]", "only comparisons", "["),
        ("(n := 5)", "only comparisons", "n :="),
        ("n ** 2", "only comparisons", "n **"),
        ("n % 2", "only comparisons", "n %"),
        ("n[0]", "only comparisons", "n["),
        ("n[t]", "only comparisons", "n["),
        ('f"{n}"', "only comparisons", "f"),
        ('n == b"x"', "only comparisons", "b"),
        ("n == ...", "only comparisons", "..."),
        ("n == 1j", "only comparisons", "1j"),
        ("object.keys()", 'unknown function "?"', "object"),
        ('__import__("os").system("x")', 'unknown function "?"', "__import__"),
        ("matches(t, n)", "must be a text", "matches"),
        ('t and matches(t, "(")', "bad pattern", '"("'),
        (r'matches(t, "\bx")', "backspace", '"'),
        ("n == 1 " * 2, "bad expression", None),
        ("n == 1\x00", "null bytes", None),
        ("not " * (MAX_DEPTH + 1) + "n", "too deep", None),
        ("n" + " + n" * 100, "too deep", None),
        ("n == '" + "x" * MAX_LENGTH + "'", "at most", None),
    ],
)
def test_mistake_is_told_with_its_place(text: str, message: str, at: str | None) -> None:
    """What is wrong, and where it begins, counted in characters."""
    with pytest.raises(ExpressionError) as raised:
        compile_predicate(text)
    assert message in str(raised.value)
    if at is not None:
        assert text[raised.value.offset :].startswith(at)


def test_growth_of_the_source_is_bounded() -> None:
    """Comparisons of comparisons cannot grow into gigabytes."""
    text = "n"
    for _ in range(40):
        text = f"0 < ({text}) < 1"
    with pytest.raises(ExpressionError, match="too deep"):
        compile_predicate(text)


def test_parentheses_cost_no_depth() -> None:
    """Python's own limit holds for them, and they leave nothing behind."""
    assert compile_predicate("(" * 150 + "n" + ")" * 150)(EVENT)


def test_event_is_never_code() -> None:
    """Attributes of Python's are fields like any others."""
    assert not compile_predicate("t.__class__ or object.__class__.__mro__ or __builtins__")(EVENT)
    assert compile_predicate("__class__ == 5")({"__class__": 5})


def test_lines_are_one() -> None:
    """A condition may stand on several lines, as YAML's `|` gives it."""
    assert compile_predicate('  n == 5\nand t == "text"\n')(EVENT)


def test_every_function_is_documented() -> None:
    for function in FUNCTIONS.values():
        assert callable(function.call)
        assert 1 <= function.least <= 2
        assert function.least <= function.most
        assert function.text[0].islower()


NAMES = ["n", "t", "list", "missing", "object.n", "object.deep.t", "@timestamp", '["a.b"]', "a.b"]
atoms = st.one_of(
    st.sampled_from(NAMES),
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False).map(lambda number: repr(number).replace("inf", "1e999")),
    st.text(st.characters(codec="utf-8"), max_size=5).map(repr),
    st.sampled_from(["true", "false", "null", "None"]),
)


def deeper(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def join(form: str) -> st.SearchStrategy[str]:
        return st.tuples(inner, inner, inner).map(lambda parts: form.format(*parts))

    forms = [
        *("({} and {})", "({} or {} or {})", "(not {})", "({} == {})", "({} != {})", "({} < {})"),
        *("({} >= {} > {})", "({} in {})", "({} not in {})", "({} + {})", "({} / {})", "({} * {})"),
        *("lower({})", "length({})", "is_number({})", "starts_with({}, {})", "ends_with({}, {})"),
        *("(-{})", "min({}, {})", "max({}, {}, {})", "int({})", "round({})", "abs({})"),
        *(
            "round({}, 2)",
            "({} > 5 * {})",
            "matches({}, '[a-z]+$')",
            "({} in [1, 'a', null, -2.5])",
            "(3 <= {})",
            "({} - 1 < {})",
        ),
    ]
    return st.sampled_from(forms).flatmap(join)


expressions = st.recursive(atoms, deeper, max_leaves=12)
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.text(st.characters(codec="utf-8"), max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["n", "deep", "t", "a.b", "b"]), inner, max_size=3),
    ),
    max_leaves=6,
)
events = st.dictionaries(
    st.sampled_from(["n", "t", "list", "object", "@timestamp", "a.b", "a"]), json_values
)


@settings(max_examples=200, deadline=None)
@given(text=expressions, event=events)
def test_no_event_makes_a_condition_fail(text: str, event: dict[str, Any]) -> None:
    """Any valid condition has one truth on any event, called or written out; nothing changes."""
    try:
        predicate = compile_predicate(text)
    except ExpressionError as error:
        assert "a list may hold" in str(error) or "too deep" in str(error), text
        return
    before = repr(event)
    truth = bool(predicate(event))
    fuser = Fuser()
    written = fuser.expression(predicate, ["event"])
    assert bool(eval(written, {**fuser.names, "event": event})) is truth
    assert repr(event) == before


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=30))
def test_any_text_is_a_condition_or_a_told_mistake(text: str) -> None:
    """No text makes the compiler itself fail."""
    try:
        compile_predicate(text)({})
    except ExpressionError as error:
        assert 0 <= error.offset <= len(text)
        assert str(error)


def test_fields_within_fields_without_end_are_a_told_mistake() -> None:
    with pytest.raises(ExpressionError, match="too deep"):
        compile_predicate("n" + ".a" * 1900)


@pytest.mark.parametrize("text", ["0 == null", "-1 == null", '"a" == null', "not n == null"])
def test_a_literal_is_not_null_and_nobody_is_warned(text: str) -> None:
    """Python warns of `0 is None` (and a warning is an error here)."""
    assert not compile_predicate(text)({})


def test_the_place_of_a_mistake_is_never_behind_the_end() -> None:
    """Python counts bytes here, of which a character has two that stands for `@`."""
    text = "@a == @b or @c == @d or @e == 01"
    with pytest.raises(ExpressionError) as caught:
        compile_predicate(text)
    assert 0 < caught.value.offset <= len(text)
