"""A letter as one line of JSON."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.dead_letters.letter import Cut, from_line, to_line

from .letters import letter


@given(
    value=st.binary(),
    key=st.none() | st.binary(),
    timestamp=st.none() | st.integers(0, 2**53),
    stream=st.binary().map(lambda name: name.decode(errors="surrogateescape")),
    cut=st.none() | st.builds(Cut, st.integers(0, 2**53), st.just("ab12")),
)
def test_letter_comes_back_as_it_was(value, key, timestamp, stream, cut) -> None:  # type: ignore[no-untyped-def]
    """Whatever a record holds, its letter is one line and gives it back byte for byte."""
    whole = letter(7, value=value, key=key, timestamp=timestamp, stream=stream, cut=cut)
    line = to_line(whole)
    assert line.count(b"\n") == 1
    assert from_line(line) == whole


def test_bytes_that_are_no_text_are_base64() -> None:
    """Text stays text, for people who look into the file."""
    entry = orjson.loads(to_line(letter(value=b"\xff\x00", key=b"k")))
    assert entry["value_base64"] == "/wA="
    assert "value" not in entry
    assert entry["key"] == "k"


@pytest.mark.parametrize("line", [b"", b"[]", b"\xff", b"{}", b'{"id": "a"}', b"1", b'{"id": "to'])
def test_line_that_is_no_letter_is_none(line: bytes) -> None:
    assert from_line(line) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("reason", 5), ("pipeline", None), ("id", []), ("position", "1"), ("timestamp", True)],
)
def test_a_line_with_other_types_is_no_letter(name: str, value: object) -> None:
    """Whoever damages one line must not keep the others from being listed."""
    entry = orjson.loads(to_line(letter()))
    assert from_line(orjson.dumps(entry)) is not None
    assert from_line(orjson.dumps(entry | {name: value})) is None
