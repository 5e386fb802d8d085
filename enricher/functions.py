"""What expressions call: pure functions that no value makes fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from enricher.pattern import compile_pattern


def is_number(value: object) -> bool:
    """Say whether a value is a number; a boolean is none."""
    return type(value) is int or type(value) is float


def is_finite(value: object) -> bool:
    """Say whether a literal can be written down again: `1e999` and huge integers cannot."""
    if type(value) is int:
        return value.bit_length() < 10_000
    return type(value) is not float or math.isfinite(value)


def comparable(left: object, right: object) -> bool:
    """Say whether two values have an order: two numbers, or two texts."""
    return (is_number(left) and is_number(right)) or (type(left) is type(right) is str)


def contains(container: Any, needle: Any) -> bool:
    """Say whether a text, list or object contains a value; false for all else."""
    if type(container) is str:
        return type(needle) is str and needle in container
    if type(container) is dict:
        return type(needle) is str and needle in container
    return type(container) is list and needle in container


def calculate(left: Any, operator: str, right: Any) -> int | float | None:
    """Calculate with two numbers; None where one is none, or the result cannot be written."""
    if not (is_number(left) and is_number(right)):
        return None
    try:
        if operator == "+":
            return left + right  # type: ignore[no-any-return]
        if operator == "-":
            return left - right  # type: ignore[no-any-return]
        return left * right if operator == "*" else left / right  # type: ignore[no-any-return]
    except ArithmeticError:
        return None


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


FUNCTIONS: dict[str, tuple[Callable[..., Any], int, str]] = {
    "lower": (_lower, 1, "the text in lower case"),
    "upper": (_upper, 1, "the text in upper case"),
    "length": (_length, 1, "the length of a text, list or object"),
    "is_number": (is_number, 1, "whether it is a number (a boolean is none)"),
    "starts_with": (_starts, 2, "whether the text begins so"),
    "ends_with": (_ends, 2, "whether the text ends so"),
    "matches": (compile_pattern, 2, "whether an RE2 pattern occurs in the text"),
}
