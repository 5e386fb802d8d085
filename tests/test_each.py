"""A loop over a batch does what its function does with each event, written out or called."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from enricher.each import each
from enricher.model import Failure

Add = Callable[[int, int, list[int]], None]


def plain() -> Add:
    def add(one: int, other: int, into: list[int]) -> None:
        if one < 0:
            raise Failure(f"{one} is negative")
        if one == 0:
            return
        into.append(one + other)

    return add


def called() -> Add:
    """A generator expression keeps it from being written out."""

    def add(one: int, other: int, into: list[int]) -> None:
        if any(value < 0 for value in (one,)):
            raise Failure(f"{one} is negative")
        into.extend([one + other] if one else [])

    return add


@pytest.mark.parametrize("function", [plain(), called()])
def test_each_of_a_batch(function: Add) -> None:
    """What fails is named by its place and hinders nobody; lists of two lengths are a mistake."""
    batch = each(function, ["one", "other"], ["into"])
    into: list[int] = []
    assert batch([1, -2, 0, 3], [10, 20, 30, 40], into) == {1: "-2 is negative"}
    assert into == [11, 43]
    assert batch([], [], into) == {}
    with pytest.raises(ValueError, match="shorter"):
        batch([1, 2], [1], into)


def test_the_place_comes_last() -> None:
    def note(one: str, seen: list[tuple[int, str]], number: int) -> None:
        seen.append((number, one))

    seen: list[tuple[int, str]] = []
    assert each(note, ["one"], ["seen"], numbered=True)(["a", "b"], seen) == {}
    assert seen == [(0, "a"), (1, "b")]


def test_what_is_no_failure_is_raised() -> None:
    """A bug of a stage ends the batch: the plan says what that means for its events."""

    def divide(one: int, into: list[float]) -> None:
        into.append(1 / one)

    with pytest.raises(ZeroDivisionError):
        each(divide, ["one"], ["into"])([1, 0], [])
