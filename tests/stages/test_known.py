"""What is known, what is not, and what is no list."""

from __future__ import annotations

from typing import Any

import pytest

from enricher.model import ConfigError
from tests.lookups.stores import AWAY, Store

from .running import event_of, plan_of

KNOWN = "known: {key: 'm:{u}', field: m, target: k}"


@pytest.mark.parametrize(
    ("stored", "value", "is_known"),
    [
        (b'["UPI"]', "UPI", True),
        (b'["UPI"]', "upi", False),
        (b"[]", "UPI", False),
        (b'["UPI"]', None, None),
        (None, "UPI", None),
        (b"[1]", True, False),
        (b"[true]", True, True),
        (b'[{"a": 1, "b": [2]}]', {"b": [2], "a": 1}, True),
        (b'["' + b"x" * 100_000 + b'"]', "x", False),
        (b"[" * 2000 + b"]" * 2000, [], False),
    ],
)
def test_it_is_known_or_not(stored: bytes | None, value: Any, is_known: bool | None) -> None:
    """By value and kind; without a value or a list nothing is said."""
    plan = plan_of(KNOWN, lookups=Store({"m:1": stored} if stored else {}))
    event = event_of(plan, {"u": 1, "m": value})
    if stored is not None and stored.startswith(b"[[["):
        assert "tags" in event or event["k"] is False  # too deep to be read, or to be known
        return
    assert event.get("k") == is_known
    assert "tags" not in event


@pytest.mark.parametrize("stored", [b"{", b"{}", b'"UPI"', b"5", b"null", b"\xff"])
def test_what_is_no_list(stored: bytes) -> None:
    event = event_of(plan_of(KNOWN, lookups=Store({"m:1": stored})), {"u": 1, "m": "UPI"})
    assert event["tags"] == ["_known_failure"]
    assert event["failures"]["known"].startswith("the stored value is no")
    assert "k" not in event


def test_away_is_a_failure_of_those_that_asked() -> None:
    store = Store({})
    store.is_away = True
    plan = plan_of(KNOWN, lookups=store)
    assert event_of(plan, {"u": 1, "m": "UPI"})["failures"] == {"known": AWAY}
    assert event_of(plan, {"m": "UPI"}) == {"m": "UPI"}


def test_the_key_begins_with_a_fixed_text() -> None:
    with pytest.raises(ConfigError, match="an event could name any key of the server otherwise"):
        plan_of("known: {key: '{u}', field: m, target: k}")
