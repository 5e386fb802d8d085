"""What a scan finds, whatever stands around it, and what it leaves alone."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.generator import generate, hostile
from enricher.pii import KINDS
from enricher.pii.fold import fold
from enricher.pii.hiding import hasher, mask
from enricher.pii.scanner import CANDIDATES, Scanner
from tests.pii.personal import anything

MASKS = {name: Scanner([kind], mask) for name, kind in KINDS.items()}
ALL = Scanner(list(KINDS.values()), mask)
HASHES = Scanner(list(KINDS.values()), hasher(b"a key"))
EDGES = [" ", "\n", "\t", ",", ";", ":", '"', "'", "(", ")", "<", "=", "&", "/", "|", " - ", ": "]
ESCAPES = [r"\n", r"\t", r"\"", r"\u0020", "%3D", "%20"]
BEFORE = {name: EDGES if name in ("vpa", "email") else EDGES + ESCAPES for name in KINDS}
SCRIPTS = ["0123456789", "०१२३४५६७८९", "０１２３４５６７８９", "٠١٢٣٤٥٦٧٨٩", "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗"]
UNSEEN = ["", "", "\u200b", "\u00ad", "\u2060", "\u200f", "\0"]

around = st.text(max_size=12) | st.text("0123456789 -+.*@%n\\", max_size=12)


def hides(output: str, begin: int, value: str, name: str) -> bool:
    """Say whether an output has a star wherever the mask of a value has one."""
    masked = KINDS[name].mask(value)
    part = output[begin : begin + len(value)]
    return all(there == "*" for here, there in zip(masked, part, strict=True) if here == "*")


@settings(max_examples=400, deadline=None)
@given(anything, around, around, st.data())
def test_found_whatever_stands_around_it(
    personal: tuple[str, str], left: str, right: str, data: st.DataObject
) -> None:
    """Every number and address that is valid, in a text of any kind; by its own scan and by all."""
    name, value = personal
    left += data.draw(st.sampled_from(BEFORE[name]))
    right = data.draw(st.sampled_from(EDGES)) + right
    text = f"{left}{value}{right}"
    for scanner in (MASKS[name], ALL):
        seen = scanner.value(text)
        if len(fold(text)) == len(text):
            assert hides(seen, len(left), value, name), seen
        else:
            at = len(fold(left))
            assert hides(fold(seen), at, value, name) or value not in seen, seen
    event = {"a": [{"b": text}]}
    MASKS[name].event(event)
    assert event == {"a": [{"b": MASKS[name].value(text)}]}


@settings(max_examples=300, deadline=None)
@given(anything.filter(lambda one: "%" not in one[1]), st.data())
def test_other_scripts_and_what_cannot_be_seen(
    personal: tuple[str, str], data: st.DataObject
) -> None:
    """Devanagari, full width, mathematical digits; zero-width characters, directions and NUL."""
    name, value = personal
    script = data.draw(st.sampled_from(SCRIPTS))
    odd = "".join(
        (script[int(c)] if c in SCRIPTS[0] else c) + data.draw(st.sampled_from(UNSEEN))
        for c in value
    )
    if name in ("vpa", "email"):
        odd = odd.replace("@", data.draw(st.sampled_from(["@", "＠"])))
    for scanner in (MASKS[name], ALL):
        event = {"text": f"(\u202e{odd})"}
        scanner.event(event)
        assert fold(odd) == value
        assert hides(fold(event["text"]), 1, value, name), event


@settings(max_examples=300, deadline=None)
@given(st.lists(anything.map(lambda one: one[1]) | around | st.sampled_from(EDGES), max_size=8))
def test_twice_is_once_and_never_longer(pieces: list[str]) -> None:
    """Masks and hashes of what is hidden already; numbers side by side and in one another, too."""
    text = "".join(pieces)
    masked = ALL.value(text)
    assert len(masked) <= len(text)
    assert ALL.value(masked) == masked
    hashed = HASHES.value(text)
    assert HASHES.value(hashed) == hashed


@pytest.mark.parametrize(
    "text",
    [
        "2025-10-20T10:15:30.123456789+05:30",
        "2025-10-20 10:15:30 1234",
        "at 1761040929118, for 1761040929118000 and 1761040929118000000",
        "550e8400-e29b-41d4-a716-446655440000",
        "txn_4111111111111111",
        "trace 4bf92f3577b34da6a3ce929d0e0e4736",
        "x4111111111111111 4111111111111111x 41111111111111111111",
        "score 0.4111111111111111 of 1.4111111111111111",
        "order 1234567890123456",
        "com.example.Payment@1a2b3c4d at Foo$Bar.run(Foo.java:123)",
        "@timestamp, @",
        "10.0.0.1:8080 2001:db8::8a2e:370:7334",
        "Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0.6478.127",
        "************1111 and **** **** 0124 and ra****sh@okaxis and +** ***** *3210",
        "version 1.2.3+45, +5 12, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
        "₹12,34,567.00 to the account",
        "1234567890",
        "Ünïcödé नमस्ते 👩‍👩‍👧 ",
    ],
)
def test_left_alone(text: str) -> None:
    """Times, ids, versions, decimals, what is masked already: none of it is personal data."""
    assert ALL.value(text) == text
    event = {"a": text, "b": {"c": [text]}}
    before = event["b"]
    ALL.event(event)
    assert event["b"] is before


def test_generated_and_hostile_events_hold_no_cards() -> None:
    """Nothing in 4,000 realistic events looks like a card, a tax number or a mail address."""
    scanner = Scanner([KINDS[name] for name in ("card", "pan", "email")], mask)
    for record in generate(4000):
        event = orjson.loads(record.value)
        before = dict(event)
        scanner.event(event)
        assert event == before
    for broken in hostile(300):
        MASKS["card"].value(broken.value.decode(errors="surrogateescape"))


def test_json_integers_with_a_checksum_become_texts() -> None:
    """A card as a number is a card; a phone as a number is any number of ten digits."""
    event: dict[str, Any] = {
        "card": 4111111111111111,
        "kyc": [234567890124],
        "bytes": 9876543210,
        "ms": 1761040929118,
        "negative": -4111111111111111,
        "float": 4111111111111111.0,
        "flag": True,
    }
    ALL.event(event)
    assert event == {
        "card": "************1111",
        "kyc": ["********0124"],
        "bytes": 9876543210,
        "ms": 1761040929118,
        "negative": -4111111111111111,
        "float": 4111111111111111.0,
        "flag": True,
    }


def test_names_of_fields_stay_and_nested_values_are_copied() -> None:
    """Objects along the path are copied, for others may share them; those beside it are not."""
    shared = {"x": {"y": "4111111111111111"}, "same": {"z": ["a"]}}
    event = {"4111111111111111": shared, "other": [1]}
    ALL.event(event)
    assert event["4111111111111111"] == {"x": {"y": "************1111"}, "same": {"z": ["a"]}}
    assert shared["x"] == {"y": "4111111111111111"}
    assert event["4111111111111111"]["same"] is shared["same"]


def test_more_than_can_be_looked_at_is_hidden_whole() -> None:
    """A thousand are looked at; then a text that may hold one more shows nothing at all."""
    event: dict[str, Any] = {
        "mails": [f"user{n}@example.com" for n in range(CANDIDATES)],
        "level": "INFO",
        "long": "4111111111111111 " * (CANDIDATES + 1),
    }
    ALL.event(event)
    assert event["mails"][0] == "u***0@example.com"
    assert event["mails"][-1] == "****"
    assert event["level"] == "INFO"
    assert event["long"] == "****"


MIB = 1 << 20
LARGE: dict[str, Any] = {
    "cards": "4111111111111111 " * (MIB // 17),
    "groups": "4444 " * (MIB // 5),
    "digits": "4" * MIB,
    "letters": "a" * (MIB - 20) + "@x.com",
    "mails": "a@b.co@" * (MIB // 7),
    "labels": "a@" + "b." * (MIB // 2),
    "dashes": ("a@b.co" + "-" * 1000) * 1000,
    "list of cards": ["4111111111111111"] * (MIB // 19),
    "list of hints": ["abc@de1"] * (MIB // 10),
    "list of words": [*["abcde"] * (MIB // 8), "x@okaxis a"],
    "lists": [*[[]] * (MIB // 3), "rahul@okaxis"],
    "zero width": "4111\u200b" * (MIB // 7),
    "full width": "４" * (MIB // 3),
    "right to left": "\u202e4111" * (MIB // 7),
    "phones": "+1((((((" * (MIB // 8),
    "stars": "*" * MIB,
    "integers": [4111111111111111] * (MIB // 17),
}


@pytest.mark.parametrize("case", LARGE)
def test_a_mebibyte_of_anything_takes_bounded_time(case: str) -> None:
    """Some 150 ms at most, measured; the bound here only tells linear from quadratic."""
    event = {"a": LARGE[case]}
    begin = time.process_time()
    ALL.event(event)
    assert time.process_time() - begin < 5
