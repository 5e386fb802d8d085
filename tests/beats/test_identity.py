"""An id is the sender's own, behind a prefix that no other source's ids have."""

from __future__ import annotations

import hashlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.beats.identity import identify

identity = identify("beats@", "@metadata._id", 1000)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text()
events = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["@metadata", "_id"]), inner),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"@metadata": {"_id": "a"}}, "beats@a"),
        ({"@metadata": {"_id": 17}}, "beats@17"),
        (
            {"@metadata": {"_id": "payments-0-17-1761040929118"}},
            "beats@payments-0-17-1761040929118",
        ),
        ({"@metadata": {"_id": ""}}, None),
        ({"@metadata": {"_id": None}}, None),
        ({"@metadata": {"_id": True}}, None),
        ({"@metadata": {"_id": 1.5}}, None),
        ({"@metadata": {"_id": ["a"]}}, None),
        ({"@metadata": "_id"}, None),
        ({"_id": "a"}, None),
        ([{"_id": "a"}], None),
    ],
)
def test_what_counts_as_an_id(event: object, expected: str | None) -> None:
    assert identity(orjson.dumps(event)) == expected


def test_another_field_may_hold_it() -> None:
    value = orjson.dumps({"a.b": {"c": "x"}})
    assert identify("shop@", '["a.b"].c', 1000)(value) == "shop@x"


def test_an_id_that_elasticsearch_would_not_take_is_hashed() -> None:
    """Of 512 bytes at most, counted as UTF-8; the hash is the same each time it is sent."""
    fits, long = "₹" * 168, "₹" * 169
    assert identity(orjson.dumps({"@metadata": {"_id": fits}})) == f"beats@{fits}"
    expected = f"beats@{hashlib.sha256(f'beats@{long}'.encode()).hexdigest()}"
    assert identity(orjson.dumps({"@metadata": {"_id": long}})) == expected


def test_what_cannot_be_read_or_is_too_large_has_none() -> None:
    """The decoder says what is wrong with it; here it costs next to nothing."""
    for value in (
        b"",
        b'"_id"',
        b'{"_id"',
        b'{"@metadata":{"_id":"\xff"}}',
        b'["_id"' + b"[" * 900,
    ):
        assert identity(value) is None
    large = orjson.dumps({"@metadata": {"_id": "a"}, "x": "x" * 1000})
    assert identity(large) is None


@given(events)
def test_any_event_has_an_id_that_can_be_one_or_none(event: object) -> None:
    found = identity(orjson.dumps(event))
    assert found is None or (found.startswith("beats@") and 6 < len(found.encode()) <= 512)
