"""What was sent before is called as before; what was not, is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.http.answers import Refusal
from enricher.http.identity import Names
from enricher.sources.http import Http


def names(**settings: Any) -> Names:
    return Names(Http(**settings))


def ids(names: Names, *values: bytes, key: str | None = None) -> list[str]:
    return [record.id for record in names.records(values, key, b"\n".join(values))]


def test_records_without_any_id_are_numbered_anew() -> None:
    """Those of two requests differ, and so do those of two processes: at least once."""
    first, second = names(), names()
    found = [*ids(first, b"{}", b"{}"), *ids(first, b"{}", b"{}"), *ids(second, b"{}", b"{}")]
    assert len(set(found)) == 6
    assert all(one.startswith("http@") for one in found)


def test_a_key_names_records_by_their_place() -> None:
    """In any process; a blank line counts as a place, so that the place is the line."""
    once = ids(names(), b'{"a":1}', b"", b'{"a":2}', key="batch-7")
    assert once == ids(names(), b'{"a":1}', b"", b'{"a":2}', key="batch-7")
    assert [one.rpartition("-")[2] for one in once] == ["1", "3"]
    assert all(one.startswith("http@batch-7-") for one in once)


def test_a_key_that_is_used_again_for_something_else_loses_nothing() -> None:
    """By mistake, after a restart that counts from one again: the ids are others."""
    assert ids(names(), b'{"a":1}', key="1") != ids(names(), b'{"a":2}', key="1")


@pytest.mark.parametrize("key", ["", "a b", "a\n", "é", "x" * 257, "\udcff"])
def test_a_key_that_cannot_be_part_of_an_id_is_refused(key: str) -> None:
    with pytest.raises(Refusal, match="1 to 256 visible ASCII") as caught:
        ids(names(), b"{}", key=key)
    assert caught.value.status == 400


def test_a_field_names_its_record() -> None:
    """Wherever it stands in the body; the key is for those that have none."""
    own = names(id_field="meta.id", name="shop")
    values = [b'{"meta":{"id":"o-1"}}', b'{"meta":{"id":42}}', b'{"n":3}']
    found = ids(own, *values, key="k")
    assert found[:2] == ["shop@o-1", "shop@42"]
    assert found[2].startswith("shop@k-")
    assert found[2].endswith("-3")
    assert ids(own, *values[1::-1]) == ["shop@42", "shop@o-1"]


@pytest.mark.parametrize(
    "value",
    [b"no JSON", b"[1]", b'{"id":null}', b'{"id":""}', b'{"id":true}', b'{"id":1.5}', b'{"id":{}}',
     b'{"id":"' + b"x" * 257 + b'"}', b'{"id":"' + "é".encode() * 129 + b'"}', b'{"id":"\xff"}',
     b'{"id":"a","pad":"' + b"x" * (1 << 20) + b'"}', b'{"id":"\\ud800"}', b'{"id":"a"'],
)  # fmt: skip
def test_a_field_that_cannot_name_falls_back(value: bytes) -> None:
    (found,) = ids(names(id_field="id"), value, key="k")
    assert found.startswith("http@k-")


@given(value=st.binary(), key=st.none() | st.text("abc-@", min_size=1, max_size=256))
def test_an_id_fits_and_is_a_clients_whatever_is_sent(value: bytes, key: str | None) -> None:
    """No id of a client can be one of Kafka's or of a file's: there is no @ in those."""
    for name in names(id_field="id"), names(name="x" * 64):
        for identity in ids(name, value, key=key):
            assert "@" in identity
            assert len(identity.encode()) <= 512


def test_a_record_has_its_arrival_and_its_place() -> None:
    (record,) = names().records([b"", b"{}"], None, b"\n{}")
    assert (record.value, record.stream, record.position, record.key) == (b"{}", "http", 2, None)
    assert record.timestamp is not None
    assert record.timestamp > 1_700_000_000_000
