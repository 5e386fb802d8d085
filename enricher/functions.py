"""What expressions call: pure functions that no value makes fail."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from enricher.model import Failure
from enricher.pattern import compile_pattern

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
INT64 = range(-(2**63), 2**63)
MAX_DIGITS = 400
"""Characters of a text that may still be a number."""


def is_number(value: object) -> bool:
    """Say whether a value is a number; a boolean is none."""
    return type(value) is int or type(value) is float


def kind_of(value: Any) -> str:
    """Name the JSON type of a value, as its user would."""
    names = {str: "a text", bool: "a boolean", int: "a number", float: "a number", list: "a list"}
    return "null" if value is None else names.get(type(value), "an object")


def to_number(value: Any, field: str) -> int | float:
    """Read a number from a text. Raises `Failure`."""
    text = value.strip() if type(value) is str else None
    if text is None:
        raise Failure(f"{field} is {kind_of(value)}, not a number")
    if len(text) <= MAX_DIGITS and _INTEGER.fullmatch(text):
        number: int | float = int(text)
        if number not in INT64:
            raise Failure(f"{field} is an integer outside 64 bits")
        return number
    if len(text) <= MAX_DIGITS and _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    raise Failure(f"{field} is no number: {value[:40]!r}")


def is_finite(value: object) -> bool:
    """Say whether a literal can be written down again: `1e999` and huge integers cannot."""
    if type(value) is int:
        return value.bit_length() < 10_000
    return type(value) is not float or math.isfinite(value)


def comparable(left: object, right: object) -> bool:
    """Say whether two values have an order: two numbers, or two texts."""
    kind, other = type(left), type(right)  # `is_number` written out: three calls are half the time
    return (
        (kind is float or kind is int) and (other is float or other is int)
    ) or kind is other is str


def contains(container: Any, needle: Any) -> bool:
    """Say whether a text, list or object contains a value; false for all else."""
    if type(container) is str:
        return type(needle) is str and needle in container
    if type(container) is dict:
        return type(needle) is str and needle in container
    return type(container) is list and needle in container


Number = int | float


def calculate(left: Any, operator: str, right: Any) -> Number | None:
    """Calculate with two numbers; None where one is none, or the result is none JSON can hold."""
    if not (
        (type(left) is float or type(left) is int) and (type(right) is float or type(right) is int)
    ):
        return None
    try:
        if operator == "*":
            return bounded(left * right)
        if operator == "/":
            return bounded(left / right)
        return bounded(left + right if operator == "+" else left - right)
    except ArithmeticError:
        return None


def bounded(value: Number) -> Number | None:
    """Give a number that JSON can hold; None for infinity, NaN and what is beyond 64 bits."""
    if type(value) is int:
        return value if value in INT64 else None
    return value if math.isfinite(value) else None


def negate(value: Any) -> Number | None:
    """Give the negative of a number; None for all else."""
    return bounded(-value) if is_number(value) else None


def _least(*values: Any) -> Number | None:
    return bounded(min(values)) if all(map(is_number, values)) else None


def _greatest(*values: Any) -> Number | None:
    return bounded(max(values)) if all(map(is_number, values)) else None


def _whole(value: Any) -> int | None:
    # What is infinite or no number at all has no whole part.
    return bounded(int(value)) if _is_finite_number(value) else None  # type: ignore[return-value]


def _rounded(value: Any, digits: Any = 0) -> Number | None:
    if not (_is_finite_number(value) and type(digits) is int and 0 <= digits <= MAX_ROUNDED):
        return None
    return bounded(round(value, digits) if digits else round(value))


def _absolute(value: Any) -> Number | None:
    return bounded(abs(value)) if is_number(value) else None


def _is_finite_number(value: Any) -> bool:
    return is_number(value) and math.isfinite(value)


MAX_ROUNDED = 15
"""Digits behind the point that `round` keeps at most."""


def _lower(value: Any) -> str | None:
    return value.lower() if type(value) is str else None


def _upper(value: Any) -> str | None:
    return value.upper() if type(value) is str else None


def _length(value: Any) -> int | None:
    return len(value) if type(value) in (str, list, dict) else None


def _starts(value: Any, prefix: Any) -> bool:
    return type(value) is str and type(prefix) is str and value.startswith(prefix)


def _ends(value: Any, suffix: Any) -> bool:
    return type(value) is str and type(suffix) is str and value.endswith(suffix)


class Function(NamedTuple):
    """What a name stands for."""

    call: Callable[..., Any]
    least: int
    """Arguments that it takes."""
    most: int
    text: str
    """What it gives, for people."""
    is_numeric: bool = False
    """Whether that is a number."""


MOST = 16
"""Arguments of `min` and `max`."""
FUNCTIONS: dict[str, Function] = {
    "lower": Function(_lower, 1, 1, "the text in lower case"),
    "upper": Function(_upper, 1, 1, "the text in upper case"),
    "length": Function(_length, 1, 1, "the length of a text, list or object", is_numeric=True),
    "is_number": Function(is_number, 1, 1, "whether it is a number (a boolean is none)"),
    "starts_with": Function(_starts, 2, 2, "whether the text begins so"),
    "ends_with": Function(_ends, 2, 2, "whether the text ends so"),
    "matches": Function(compile_pattern, 2, 2, "whether an RE2 pattern occurs in the text"),
    "min": Function(_least, 2, MOST, "the least of several numbers", is_numeric=True),
    "max": Function(_greatest, 2, MOST, "the greatest of several numbers", is_numeric=True),
    "int": Function(_whole, 1, 1, "the number without what is behind its point", is_numeric=True),
    "round": Function(
        _rounded,
        *(1, 2),
        "the nearest whole number (of two, the even one), or with y digits behind the point",
        is_numeric=True,
    ),
    "abs": Function(_absolute, 1, 1, "the number without its sign", is_numeric=True),
}
