"""A body becomes records as they were sent, or a refusal that says where it cannot."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.http import cut
from enricher.http.answers import Refusal

SPACE = st.sampled_from([b"", b" ", b"\n", b"\r\n", b"\t ", b" " * 40])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)  # fmt: skip


LARGEST = 1 << 20


def all_texts(body: bytes, most: int = 1000, largest: int = LARGEST) -> list[bytes]:
    return [one for some in cut.texts(body, most, largest) for one in some]


def refusal(body: bytes, most: int = 1000) -> Refusal:
    with pytest.raises(Refusal) as caught:
        all_texts(body, most)
    return caught.value


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a body of a few bytes be more than is looked at at once."""
    monkeypatch.setattr(cut, "_STEP", 16)
    monkeypatch.setattr(cut, "_AT_ONCE", 3)


@given(values=st.lists(st.tuples(VALUES, SPACE, SPACE)), ascii_only=st.booleans())
def test_an_array_is_cut_where_its_texts_end(
    values: list[tuple[Any, bytes, bytes]], ascii_only: bool
) -> None:
    """Each is given as it was written, whatever it holds and however much space is between."""
    written = [json.dumps(value, ensure_ascii=ascii_only).encode() for value, _, _ in values]
    parts = [
        before + text + after
        for text, (_, before, after) in zip(written, values, strict=True)
    ]  # fmt: skip
    assert all_texts(b" [" + b",".join(parts) + b"\n] ") == written


@given(values=st.lists(st.dictionaries(st.text(), VALUES)))
def test_objects_may_stand_one_after_the_other(values: list[dict[str, Any]]) -> None:
    """On lines of their own, or with nothing between them."""
    written = [json.dumps(value).encode() for value in values]
    assert all_texts(b"\n".join(written)) == written == all_texts(b"".join(written))


@pytest.mark.usefixtures("small_windows")
@given(texts=st.lists(st.tuples(st.text('aé"\\₹{[]},:', max_size=30), SPACE), min_size=5))
@settings(max_examples=200)
def test_what_is_longer_than_a_window_is_cut_as_well(texts: list[tuple[str, bytes]]) -> None:
    """Wherever the window ends, in the middle of a text, a number or the space between."""
    written = [json.dumps({"n": n, "t": text}).encode() for n, (text, _) in enumerate(texts)]
    spaces = [space for _, space in texts]
    parts = [one + space for one, space in zip(written, spaces, strict=True)]
    assert all_texts(b"[" + b",".join(parts) + b"]", largest=200) == written
    assert all_texts(b"".join(parts), largest=200) == written


@pytest.mark.usefixtures("small_windows")
@given(number=st.integers(0, 10**150), before=st.integers(0, 40))
def test_a_number_at_the_end_of_a_window_is_not_cut_in_two(number: int, before: int) -> None:
    written = [b"1"] * before + [str(number).encode()] * 3
    assert all_texts(b"[" + b",".join(written) + b"]", largest=200) == written


@given(body=st.binary() | st.text('{}[]",:\\1tn ', max_size=40).map(str.encode))
def test_any_bytes_are_cut_or_refused_with_their_place(body: bytes) -> None:
    """What is refused is refused somewhere in the body; what is cut, put together, is the body."""
    try:
        found = all_texts(body)
    except Refusal as error:
        assert error.status == 400
        assert 0 <= error.place["byte"] <= len(body)
        assert error.place["line"] == body[: error.place["byte"]].count(b"\n") + 1
    else:
        for one in found:
            begin = body.index(one)
            assert not body[:begin].strip(b" \t\r\n[,"), "something was left out"
            body = body[begin + len(one) :]
        assert not body.strip(b" \t\r\n[]"), "something was left out"


@pytest.mark.parametrize(
    ("body", "reason", "byte", "line"),
    [
        (b'[{"a":1},{"b":}]', "Expecting value", 14, 1),
        (b"[1 2]", "a comma or the end of the array is wanted", 3, 1),
        (b"[\n1,\n2\n3]", "a comma or the end of the array is wanted", 7, 4),
        (b"[1", "a comma or the end of the array is wanted", 2, 1),
        (b"[1,]", "Expecting value", 3, 1),
        (b"[1]]", "the array has ended before this", 3, 1),
        (b'\n[1]\n{"a":1}', "the array has ended before this", 5, 3),
        (b'{"a":1},{"a":2}', "Expecting value", 7, 1),
        (b'{"a":"b', "Unterminated string", 5, 1),
        (b"hello", "Expecting value", 0, 1),
        (b"[" * 100_000, "nested too deep", 1, 1),
        (b'{"a":' * 100_000, "nested too deep", 0, 1),
    ],
)
def test_what_cannot_be_cut_is_refused_with_its_place(
    body: bytes, reason: str, byte: int, line: int
) -> None:
    error = refusal(body)
    assert (error.status, error.place) == (400, {"line": line, "byte": byte})
    assert reason in str(error)
    assert "nothing was taken" in str(error)


def test_what_a_record_may_hold_is_not_decided_here() -> None:
    """The plan says what is wrong with each: bytes that are no UTF-8, NaN, other than objects."""
    odd = [
        b'{"a":"\xff"}',
        b'{"a":NaN}',
        b'{"a":1,"a":2}',
        b'"text"',
        b"1" + b"0" * 5000,
        b'"\\ud800"',
    ]
    assert all_texts(b"[" + b",".join(odd) + b"]") == odd


def test_too_many_records_are_refused() -> None:
    """Not one more than may be."""
    assert len(all_texts(b"[" + b",".join([b"1"] * 10) + b"]", 10)) == 10
    assert refusal(b"[" + b",".join([b"1"] * 11) + b"]", 10).status == 413
    assert len(cut.lines(b"1\n" * 10, 10, 9)) == 11
    with pytest.raises(Refusal, match="more than 10 records"):
        cut.lines(b"1\n" * 11, 10, 9)


def test_a_record_that_is_too_large_to_be_looked_through_is_refused() -> None:
    """As a line of its own it would be a dead letter, alone."""
    fits = b'"' + b"a" * (LARGEST - 2) + b'"'
    assert all_texts(b"[" + fits + b",1]") == [fits, b"1"]
    beyond = [
        b'"a' + fits[1:],
        b"[" + b"[]," * (LARGEST // 2) + b"1]",
        b'"' + b"a" * 3 * LARGEST,
        b"1" * 3 * LARGEST,
    ]
    for large in beyond:
        error = refusal(b"[1,\n" + large + b",2]")
        assert (error.status, error.place) == (413, {"line": 2, "byte": 4}), str(error)


@given(
    lines=st.lists(st.binary().filter(lambda line: b"\n" not in line and not line.endswith(b"\r")))
)
def test_lines_are_cut_without_a_look_at_them(lines: list[bytes]) -> None:
    """Blank ones keep their place; a carriage return before the newline is no part of one."""
    assert cut.lines(b"\n".join(lines), 1000, LARGEST) == (lines or [b""])
    assert cut.lines(b"\r\n".join([*lines, b""]), 1000, LARGEST) == [*lines, b""]


def test_a_line_that_is_too_long_is_cut_to_be_refused_alone() -> None:
    """To one byte more than may be."""
    assert cut.lines(b"12345\n1234\n123", 10, 4) == [b"12345", b"1234", b"123"]
    assert cut.lines(b"1234567\n1234\n", 10, 4) == [b"12345", b"1234", b""]


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", False),
        ("Application/JSON; charset=utf-8", False),
        ('application/json; a=b; charset="UTF8"', False),
        ("application/cloudevents+json", False),
        ("application/x-ndjson", True),
        ("application/ndjson;charset=us-ascii", True),
        ("application/jsonl", True),
        ("application/x-jsonlines", True),
        ("application/json; charset=utf-16", None),
        ("application/x-ndjson; charset=latin-1", None),
        ("text/plain", None),
        ("application/x-www-form-urlencoded", None),
        ("multipart/form-data; boundary=application/json", None),
        ("application/jsonx", None),
        ("", None),
    ],
)
def test_the_content_type_says_how_to_cut(content_type: str, expected: bool | None) -> None:
    """Types that a browser sends unasked to any page's taste are not among them."""
    if expected is None:
        with pytest.raises(Refusal, match="Content-Type") as caught:
            cut.is_lines(content_type)
        assert caught.value.status == 415
    else:
        assert cut.is_lines(content_type) is expected


def test_large_bodies_are_cut_a_piece_at_a_time() -> None:
    """Others have their turn in between."""
    body = orjson.dumps([{"n": number} for number in range(10_000)])
    sizes = [len(some) for some in cut.texts(body, 10_000, LARGEST)]
    assert max(sizes) <= 2_000
    assert sum(sizes) == 10_000
