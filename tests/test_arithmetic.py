"""Arithmetic in conditions and scores: as a naive evaluator works it out, and never an exception."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.expression import ExpressionError, compile_number, compile_predicate
from enricher.fuse import Fuser

Tree = Any
"""A number, the name of a field, or a tuple of an operation and its operands."""
SIGNS = ("+", "-", "*", "/")
numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-20, 20),
    st.floats(allow_nan=False, allow_infinity=False),
)
atoms = st.one_of(st.sampled_from(["a", "b", "missing"]), numbers)


def larger(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.one_of(
        st.tuples(st.sampled_from([*SIGNS, "min", "max"]), inner, inner),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner, inner),
        st.tuples(st.sampled_from(["negative", "int", "abs", "round"]), inner),
        st.tuples(st.just("round"), inner, st.integers(0, 15)),
    )


trees = st.recursive(atoms, larger, max_leaves=10)
values = st.one_of(numbers, st.none(), st.booleans(), st.text(max_size=3), st.just([1]))
events = st.fixed_dictionaries({}, optional={"a": values, "b": values})


def text_of(tree: Tree) -> str:
    if not isinstance(tree, tuple):
        return str(tree)
    operation, *operands = tree
    texts = [text_of(one) for one in operands]
    if operation in SIGNS:
        return f"({texts[0]} {operation} {texts[1]})"
    return f"(-{texts[0]})" if operation == "negative" else f"{operation}({', '.join(texts)})"


def worked_out(tree: Tree, event: dict[str, Any]) -> Any:
    """Work a tree out, one step at a time; None where a step has no number that JSON can hold."""
    if isinstance(tree, str):
        return event.get(tree)
    if not isinstance(tree, tuple):
        return tree
    operation, *operands = tree
    inner = [worked_out(one, event) for one in operands]
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in inner):
        return None
    try:
        steps: dict[str, Callable[[], Any]] = {
            "+": lambda: inner[0] + inner[1],
            "-": lambda: inner[0] - inner[1],
            "*": lambda: inner[0] * inner[1],
            "/": lambda: inner[0] / inner[1],
            "negative": lambda: -inner[0],
            "min": lambda: min(*inner),
            "max": lambda: max(*inner),
            "int": lambda: math.trunc(inner[0]),
            "abs": lambda: math.fabs(inner[0]) if isinstance(inner[0], float) else abs(inner[0]),
            "round": lambda: round(*inner) if inner[1:] != [0] else round(inner[0]),
        }
        result = steps[operation]()
    except (ZeroDivisionError, OverflowError):
        return None
    if isinstance(result, int):
        return result if -(2**63) <= result < 2**63 else None
    return None if math.isinf(result) or math.isnan(result) else result


@settings(max_examples=500, deadline=None)
@given(tree=trees, event=events)
def test_as_a_naive_evaluator(tree: Tree, event: dict[str, Any]) -> None:
    """The same number of the same type, called or written out; and what JSON can hold."""
    compiled = compile_number(text_of(tree))
    expected = worked_out(tree, event)
    got = compiled(event)
    assert (type(got), got) == (type(expected), expected)
    fuser = Fuser()
    written = fuser.expression(compiled, ["event"])
    again = eval(written, {**fuser.names, "event": event})
    assert (type(again), again) == (type(expected), expected)
    assert orjson.loads(orjson.dumps({"points": got}))["points"] == got


@settings(max_examples=200, deadline=None)
@given(left=trees, right=trees, event=events)
def test_comparisons_of_it(left: Tree, right: Tree, event: dict[str, Any]) -> None:
    """False where a side is no number; texts, which have an order too, apart."""
    one, other = worked_out(left, event), worked_out(right, event)
    found = bool(compile_predicate(f"{text_of(left)} > {text_of(right)}")(event))
    are_numbers = all(type(side) in (int, float) for side in (one, other))
    are_texts = type(one) is type(other) is str
    assert found == ((are_numbers or are_texts) and one > other)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("min(int(amount / mean * 5), 30)", 30),
        ("int(2.9) + int(-2.9)", 0),
        ("round(2.5) + round(3.5)", 6),
        ("round(2.345, 1)", 2.3),
        ("-amount", -7000),
        ("--amount - -1", 7001),
        ("9223372036854775807 + 1", None),
        ("-(-9223372036854775807 - 1)", None),
        ("amount / 0", None),
        ("amount / (mean - 100)", None),
        ("1e308 * 10", None),
        ("int(1e300)", None),
        ("abs(missing)", None),
        ("min(amount, name)", None),
        ("int(name)", None),
        ("max(amount, yes)", None),
        ("round(mean, 16)", None),
        ("round(mean, -1)", None),
        ("length(name) * 2", 4),
    ],
)
def test_examples(text: str, value: float | None) -> None:
    event = {"amount": 7000, "mean": 100, "name": "12", "yes": True}
    assert compile_number(text)(event) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("amount > 5", "a number is wanted"),
        ("a and b", "a number is wanted"),
        ('"5"', "a number is wanted"),
        ("true", "a number is wanted"),
        ("lower(a)", "a number is wanted"),
        ("[1, 2]", "a number is wanted"),
        ("not a", "a number is wanted"),
        ("min(a)", "takes 2 to 16 arguments"),
        ("mim(a, b)", 'unknown function "mim" (did you mean "min"?)'),
        ("a +", "bad expression"),
        ("a ** 2", "only comparisons"),
    ],
)
def test_what_is_no_arithmetic_is_told(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=re.escape(message)):
        compile_number(text)
