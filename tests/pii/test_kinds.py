"""What each kind is: known numbers that are one, and known ones that are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.pii import KINDS
from enricher.pii.aadhaar import is_verhoeff
from enricher.pii.card import is_card, is_luhn, mask_but_bin
from tests.pii.personal import DIGITS, PERSONAL, with_check_digit

# The test numbers that the networks and their processors publish.
CARDS = [
    *("4111111111111111", "4012888888881881", "4222222222222", "5555555555554444"),
    *("5105105105105100", "2223003122003222", "378282246310005", "371449635398431"),
    *("30569309025904", "38520000023237", "6011111111111117", "6011000990139424"),
    *("3530111333300000", "6304000000000000", "6799990100000000019", "6200000000000005"),
]


@pytest.mark.parametrize("digits", CARDS)
def test_published_card_numbers(digits: str) -> None:
    """They are cards, and with another last digit none of them is."""
    assert is_card(digits)
    assert not any(is_card(digits[:-1] + other) for other in DIGITS if other != digits[-1])


@pytest.mark.parametrize(
    "digits",
    [
        "1761040929118",  # a time in milliseconds, Luhn by chance or not
        "1761040929118000",
        "20251021101530123",
        "4111111111111112",
        "0000000000000000",
        "9876543210987654",
        "411111111111",
        "41111111111111111111",
    ],
)
def test_numbers_that_are_no_cards(digits: str) -> None:
    """Times, orders and mistyped numbers; length and network count, not Luhn alone."""
    assert not is_card(digits)


def test_luhn_of_the_standard() -> None:
    """7992739871 has the check digit 3."""
    assert [one for one in DIGITS if is_luhn(f"7992739871{one}")] == ["3"]


@pytest.mark.parametrize(("digits", "check"), [("236", "3"), ("12345", "1"), ("142857", "0"),
                                              ("84736430954837284567892", "2"),
                                              ("123456789012", "0")])  # fmt: skip
def test_verhoeff_of_known_numbers(digits: str, check: str) -> None:
    """Published examples of the algorithm."""
    assert [one for one in DIGITS if is_verhoeff(digits + one)] == [check]


@given(st.text(DIGITS, min_size=11, max_size=11), st.integers(0, 10))
def test_verhoeff_knows_swapped_digits(body: str, at: int) -> None:
    """Every swap of two neighbours is noticed, as no sum would."""
    digits = with_check_digit(body, is_verhoeff)
    swapped = digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :]
    assert is_verhoeff(swapped) == (swapped == digits)


@pytest.mark.parametrize(
    ("kind", "text", "masked"),
    [
        ("vpa", "rakeshsh@okaxis", "ra****sh@okaxis"),
        ("vpa", "rahul@okaxis", "r***l@okaxis"),
        ("vpa", "9876543210@ybl", "98******10@ybl"),
        ("vpa", "ab@ybl", "**@ybl"),
        ("vpa", "a@b@oksbi", "***@oksbi"),
        ("vpa", "@oksbi", "@*****"),
        ("vpa", "no address", "** *******"),
        ("email", "rakesh.sharma@example.com", "ra*********ma@example.com"),
        ("email", "राहुल.शर्मा@example.com", "रा*******मा@example.com"),
        ("card", "4111111111111111", "************1111"),
        ("card", "4111-1111 1111-1112", "****-**** ****-1112"),  # mistyped, and in its field
        ("card", "411111", "******"),
        ("card", "none", "****"),
        ("aadhaar", "2345 6789 0124", "**** **** 0124"),
        ("aadhaar", "2345 6789 012", "**** **** ***"),
        ("pan", "ABCPE1234F", "******234F"),
        ("pan", "abcpe1234", "*********"),
        ("phone", "+91 98765 43210", "+** ***** *3210"),
        ("phone", "(022) 2345-6789", "(***) ****-6789"),
        ("phone", "100", "***"),
    ],
)
def test_what_is_kept(kind: str, text: str, masked: str) -> None:
    """As documented; twice is as once."""
    mask = KINDS[kind].mask
    assert mask(text) == masked
    assert mask(masked) == masked


def test_bin_is_kept_of_long_numbers_only() -> None:
    """Of a number of 13 digits three hidden ones would be guessed."""
    assert mask_but_bin("4111 1111 1111 1111") == "4111 11** **** 1111"
    assert mask_but_bin("4111 11** **** 1111") == "4111 11** **** 1111"
    assert mask_but_bin("378282246310005") == "378282*****0005"
    assert mask_but_bin("4222222222222") == "*********2222"


@pytest.mark.parametrize(
    ("kind", "ways"),
    [
        ("card", ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "4111%201111%201111%201111"]),
        ("phone", ["9876543210", "09876543210", "+919876543210", "+91 98765-43210", "00919876543210"]),
        ("pan", ["ABCPE1234F", "abcpe1234f", "ABCPE 1234 F"]),
        ("email", ["Rahul@Example.com", "rahul%40example.com", " rahul@example.com "]),
    ],
)  # fmt: skip
def test_ways_of_writing_are_one_value(kind: str, ways: list[str]) -> None:
    """So that their hashes join."""
    assert len(set(map(KINDS[kind].normal, ways))) == 1


@given(st.data())
def test_a_candidate_of_each_kind_fits(data: st.DataObject) -> None:
    """What the generators make is taken whole, and the mask hides all but what it says."""
    name = data.draw(st.sampled_from(sorted(PERSONAL)))
    text, kind = data.draw(PERSONAL[name]), KINDS[name]
    assert kind.fit(text) == len(text)
    masked = kind.mask(text)
    assert len(masked) == len(text)
    assert kind.mask(masked) == masked
    kept = sum(one.isalnum() for one in masked.split("@")[0].split("%40")[0])
    assert kept <= 4 + 4 * text.count("%20")
