"""Which letters are meant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from enricher.dead_letters.letter import Letter, Place
from enricher.dead_letters.queue import Filter, Found, index, shape

from .letters import letter


class Listed:
    """A queue that is a list."""

    name = "list"
    kept = 0

    def __init__(self, *found: Found) -> None:
        self.found = list(found)

    async def scan(self) -> AsyncIterator[list[Found]]:
        yield self.found

    def read(self, _: Any) -> Any:
        raise NotImplementedError

    async def remove(self, _: Any) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        pass


def at(offset: int, one: Letter, partition: int = 0) -> Found:
    place = Place(partition, offset)
    return Found(one.id, place, one._replace(place=place))


def ids(queue: Listed, chosen: Filter = Filter()) -> list[tuple[str, int]]:
    entries = asyncio.run(index(queue, "p", chosen)).entries
    return [(entry.id, entry.place.offset) for entry in entries]


@pytest.mark.parametrize(
    ("chosen", "numbers"),
    [
        (Filter(), [0, 1, 2]),
        (Filter(stage="json"), [0, 2]),
        (Filter(error="Failure"), [1]),
        (Filter(reason="IS NO number"), [1]),
        (Filter(since="2025-10-20T10:00:01.000+00:00"), [1, 2]),
        (Filter(until="2025-10-20T10:00:01.000+00:00"), [0, 1]),
        (Filter(ids=frozenset(["logs-0-2", "x"])), [2]),
        (Filter(limit=2), [0, 1]),
        (Filter(stage="json", limit=1), [0]),
        (Filter(stage="strict", error="NotJson"), []),
    ],
)
def test_filters_choose_together(chosen: Filter, numbers: list[int]) -> None:
    strict = letter(1, stage="strict", error="Failure", reason="amount is no number: 'x'")
    queue = Listed(at(0, letter(2)), at(1, strict), at(2, letter(0)))
    assert [name for name, _ in ids(queue, chosen)] == [f"logs-0-{n}" for n in numbers]


def test_last_letter_of_a_record_counts() -> None:
    """A filter that only an earlier one fits does not find it again."""
    queue = Listed(at(0, letter(1)), at(1, letter(1, stage="other")))
    assert ids(queue) == [("logs-0-1", 1)]
    assert ids(queue, Filter(stage="json")) == []


def test_removal_takes_out_what_is_before_it() -> None:
    gone = Found("logs-0-1", Place(0, 1), None)
    assert ids(Listed(at(0, letter(1)), gone)) == []
    assert ids(Listed(at(0, letter(1)), gone, at(2, letter(1)))) == [("logs-0-1", 2)]


def test_letters_of_a_record_in_two_partitions_are_two() -> None:
    """A topic was given more partitions: a removal in one says nothing about the other."""
    queue = Listed(at(5, letter(1)), at(6, letter(1), 1), Found("logs-0-1", Place(1, 7), None))
    assert ids(queue) == [("logs-0-1", 5)]


def test_letters_of_other_pipelines_are_left_alone() -> None:
    """Another version of the same pipeline is the same pipeline."""
    queue = Listed(at(0, letter(0, pipeline="p@2")), at(1, letter(1, pipeline="pp@1")))
    found = asyncio.run(index(queue, "p", Filter()))
    assert [entry.id for entry in found.entries] == ["logs-0-0"]
    assert found.others == {"pp"}


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("not JSON: line 1 column 17", "not JSON: line … column …"),
        (
            "[1:7] failed to parse field [n] in document with id 'a-0-1'. Preview of field's value: 'x'",
            "[…:…] failed to parse field [n] in document with id …. Preview of field's value: …",
        ),
        ("it's nobody's", "it's nobody's"),
        ('amount is "12" or "', 'amount is … or "'),
        ("x" * 1000, "x" * 200),
    ],
)
def test_like_reasons_have_one_shape(reason: str, wanted: str) -> None:
    assert shape(reason) == wanted
