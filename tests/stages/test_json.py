"""What is decoded, what is kept as text, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.model import DeadLetter, Failure
from enricher.stages.json import check_depth

from .running import event_of, outcome_of, plan_of

PLAN = plan_of("json: {envelope: message}")
PLAIN = plan_of("json: {}")


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b"", "NotJson"),
        (b"text", "NotJson"),
        (b'{"a": 1', "NotJson"),
        (b'{"a": NaN}', "NotJson"),
        (b'{"a": -Infinity, "b": 12345678901234567890}', "NotJson"),
        (b'{"a": 1e400}', "NotJson"),
        (b'{"a": 1e400, "b": 12345678901234567890}', "NotJson"),
        (b'{"a": "\xff"}', "NotJson"),
        (b'{"a": "\xff", "b": 12345678901234567890}', "NotJson"),
        (b'{"a": "\\ud800"}', "NotJson"),
        (b'{"a": "\\ud800", "b": 12345678901234567890}', "NotJson"),
        (b'\xef\xbb\xbf{"b": 12345678901234567890}', "NotJson"),
        ('{"b": 12345678901234567890}'.encode("utf-16"), "NotJson"),
        (b"[]", "NotAnObject"),
        (b"[12345678901234567890]", "NotAnObject"),
        (b"null", "NotAnObject"),
        (b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}", "TooDeep"),
        (b'{"a": "' + b"x" * (1 << 20) + b'"}', "TooLarge"),
        (b'{"": 1}', "BadKey"),
        (b'{"a": [{"": 1}]}', "BadKey"),
        (b'{".a": 1}', "BadKey"),
        (b'{"a.": 1}', "BadKey"),
        (b'{"a..b": 1}', "BadKey"),
        (b'{"a\\u002e": 1}', "BadKey"),
        (b'{"a\\u0000": 1}', "BadKey"),
        (b'{".a\\"b": 1}', "BadKey"),
        (b'{"a..b\\"c": 1}', "BadKey"),
        (b'{"\\u0000\\"c": 1}', "BadKey"),
        (b'{"message": "{\\"a.\\": 1}"}', "BadKey"),
        (orjson.dumps({"message": '{"a":' * 65 + "1" + "}" * 65}), "TooDeep"),
        (orjson.dumps({"message": '{"a":' * 2000 + "1" + "}" * 2000}), "TooDeep"),
    ],
)
def test_refused(value: bytes, error: str) -> None:
    """A dead letter of this stage, with the reason."""
    letter = outcome_of(PLAN, value)
    assert isinstance(letter, DeadLetter), letter
    assert (letter.stage, letter.error) == ("json", error)
    assert letter.reason


@pytest.mark.parametrize(
    "message",
    [
        *("paid", "", " ", "[1]", "5", "null", "{", "{}}", '{"a": 1} {"b": 2}', "{paid}"),
        "\ufeff{}",
        *('{"a": 12345678901234567890', '{"a": NaN, "b": 12345678901234567890}', "\u00a0{}"),
        *('{"a": "\\ud800", "b": 12345678901234567890}', "{" * 500, '{"a":1e999}', "[" * 3000),
    ],
)
def test_any_other_message_is_for_people(message: str) -> None:
    """It stays as it is, and the event is an ordinary one."""
    assert event_of(PLAN, {"message": message, "a": 1}) == {"message": message, "a": 1}


@pytest.mark.parametrize(
    ("event", "merged"),
    [
        ({"message": "{}"}, {}),
        ({"message": ' \n{"a": 1} '}, {"a": 1}),
        ({"message": '{"a": 1}', "a": 2, "b": 3}, {"a": 1, "b": 3}),
        ({"message": '{"message": "{}"}'}, {"message": "{}"}),
        ({"message": '{"message": null}'}, {"message": None}),
        ({"message": {"a": 1}}, {"message": {"a": 1}}),
    ],
)
def test_envelope(event: dict[str, Any], merged: dict[str, Any]) -> None:
    """One level is opened; the inner value wins."""
    assert event_of(PLAN, event) == merged
    assert event_of(PLAIN, event) == event


def test_long_integers() -> None:
    """Beyond 64 bits a number is kept as text, one tag for all of them."""
    digits = ["9223372036854775807", "-9223372036854775808", "9223372036854775808", "1" * 400]
    event = event_of(PLAN, f'{{"a": [{", ".join(digits)}], "b": "x"}}'.encode())
    assert event["a"] == [2**63 - 1, -(2**63), "9223372036854775808", "1" * 400]
    assert event["tags"] == ["_json_failure"]
    assert "2 integer(s)" in event["failures"]["json"]


def test_odd_but_allowed() -> None:
    """Inner dots, doubled keys and 64 levels are kept."""
    assert event_of(PLAN, b'{"a.b": 1, "a": 1, "a": {"b": "..", "c": "."}}') == {
        "a.b": 1,
        "a": {"b": "..", "c": "."},
    }
    assert event_of(PLAN, b'{"a": ' + b"[" * 63 + b"]" * 63 + b"}")["a"]
    assert event_of(PLAN, {"a": "[{" * 5000})["a"] == "[{" * 5000


def depth_by_hand(text: str) -> int:
    """Walk over a text as JSON's grammar has it."""
    depth = deepest = 0
    inside = escaped = False
    for character in text:
        if inside:
            inside = escaped or character != '"'
            escaped = not escaped and character == "\\"
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


@given(st.text(alphabet='[]{}"\\a', max_size=40))
def test_depth_is_that_of_the_brackets_outside_texts(text: str) -> None:
    """Also of what is no JSON at all."""
    deepest = depth_by_hand(text)
    check_depth(text.encode(), max(deepest, 1))
    if deepest > 1:
        with pytest.raises(Failure, match="nested deeper"):
            check_depth(text.encode(), deepest - 1)


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(10**25), 10**25), st.floats(allow_nan=False,
        allow_infinity=False), st.text(st.characters(codec="utf-8"), max_size=6),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(alphabet='a.b"\\:,\x00é', max_size=5), inner, max_size=3),
    ),
    max_leaves=10,
)  # fmt: skip


def bad_key(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(bad_key, value))
    if not isinstance(value, dict):
        return False
    return any("" in k.split(".") or "\0" in k or bad_key(v) for k, v in value.items())


def with_texts(value: Any) -> Any:
    """Write integers beyond 64 bits as text."""
    if isinstance(value, list):
        return [with_texts(one) for one in value]
    if isinstance(value, dict):
        return {key: with_texts(one) for key, one in value.items()}
    if type(value) is int and not -(2**63) <= value < 2**63:
        return str(value)
    return value


@given(
    st.dictionaries(st.text(alphabet='a.b"\\', max_size=4), json_values, max_size=4), st.booleans()
)
def test_any_object(value: dict[str, Any], escaped: bool) -> None:
    """Decoded as the standard library does, but for the rules on keys and long integers."""
    raw = json.dumps(value, ensure_ascii=escaped).encode()
    if bad_key(value):
        letter = outcome_of(PLAIN, raw)
        assert isinstance(letter, DeadLetter)
        assert letter.error == "BadKey"
        return
    event = event_of(PLAIN, raw)
    wanted = with_texts(value)
    if wanted != value:
        assert event.pop("tags")[-1] == "_json_failure"
        assert event.pop("failures")
        wanted.pop("tags", None)
    assert event == wanted
