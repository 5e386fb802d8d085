"""Personal data made up: valid by every rule, and of nobody."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from enricher.pii.aadhaar import is_verhoeff
from enricher.pii.card import is_luhn

DIGITS = "0123456789"
NETWORKS = (
    ("4", 13), ("4", 16), ("4", 19), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15),
    ("37", 15), ("300", 14), ("36", 14), ("38", 16), ("3528", 16), ("3589", 19), ("508", 16),
    ("5018", 13), ("6011", 16), ("60", 16), ("62", 17), ("65", 16), ("6759", 18), ("81", 16),
    ("82", 16),
)  # fmt: skip
HANDLES = ("okaxis", "kotak811", "oksbi", "okhdfcbank", "ybl", "paytm", "upi")
_NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def with_check_digit(digits: str, is_valid: object) -> str:
    """Give the digits with the one behind them that makes them valid."""
    return next(digits + one for one in DIGITS if is_valid(digits + one))  # type: ignore[operator]


def grouped(digits: str, sizes: Sequence[int], gap: str) -> str:
    """Write digits in groups of these sizes."""
    parts, at = [], 0
    for size in sizes:
        parts.append(digits[at : at + size])
        at += size
    return gap.join([*parts, digits[at:]] if at < len(digits) else parts)


gaps = st.sampled_from([" ", "-", "+", "%20"])


@st.composite
def cards(draw: st.DrawFn) -> str:
    """A card's number, in one piece or as it is printed."""
    prefix, length = draw(st.sampled_from(NETWORKS))
    rest = length - len(prefix) - 1
    body = prefix + draw(st.text(DIGITS, min_size=rest, max_size=rest))
    digits = with_check_digit(body, is_luhn)
    sizes = {16: (4, 4, 4, 4), 19: (4, 4, 4, 4, 3), 15: (4, 6, 5), 14: (4, 6, 4)}.get(length)
    return grouped(digits, sizes, draw(gaps)) if sizes and draw(st.booleans()) else digits


@st.composite
def aadhaars(draw: st.DrawFn) -> str:
    """An Aadhaar number, in one piece or in fours."""
    body = draw(st.sampled_from("23456789")) + draw(st.text(DIGITS, min_size=10, max_size=10))
    digits = with_check_digit(body, is_verhoeff)
    return grouped(digits, (4, 4, 4), draw(gaps)) if draw(st.booleans()) else digits


@st.composite
def pans(draw: st.DrawFn) -> str:
    """A permanent account number."""
    letters = st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    three = "".join(draw(letters) for _ in range(3))
    digits = draw(st.text(DIGITS, min_size=4, max_size=4))
    code = f"{three}{draw(st.sampled_from('ABCFGHJLPT'))}{draw(letters)}{digits}{draw(letters)}"
    return code if draw(st.booleans()) else code.lower()


@st.composite
def phones(draw: st.DrawFn) -> str:
    """A mobile's number in India, or one with a plus from anywhere."""
    if draw(st.integers(0, 3)) == 0:
        return (
            "+"
            + draw(st.sampled_from(["1", "44", "49", "971"]))
            + draw(st.text(DIGITS, min_size=8, max_size=11))
        )
    digits = draw(st.sampled_from("6789")) + draw(st.text(DIGITS, min_size=9, max_size=9))
    sizes = draw(st.sampled_from([(10,), (5, 5), (3, 3, 4), (4, 3, 3)]))
    gap = draw(gaps)
    return draw(st.sampled_from(["", "0", "91", "+91", "+91 ", "+91-"])) + grouped(
        digits, sizes, gap
    )


@st.composite
def names(draw: st.DrawFn) -> str:
    """The name of an address: it begins and ends with a letter or a digit."""
    inner = draw(st.text(f"{_NAME}.-_", max_size=20))
    return f"{draw(st.sampled_from(_NAME))}{inner}{draw(st.sampled_from(_NAME))}"


ats = st.sampled_from(["@", "@", "@", "%40"])
vpas = st.tuples(names(), ats, st.sampled_from(HANDLES)).map("".join)
emails = st.tuples(
    names(), ats, st.sampled_from(["example.com", "mail.example.co.in", "x-y.org"])
).map("".join)
PERSONAL = {
    "card": cards(),
    "aadhaar": aadhaars(),
    "pan": pans(),
    "phone": phones(),
    "vpa": vpas,
    "email": emails,
}
anything = st.one_of([values.map(lambda v, k=kind: (k, v)) for kind, values in PERSONAL.items()])  # type: ignore[misc]
