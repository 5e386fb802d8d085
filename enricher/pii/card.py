"""Numbers of payment cards: 13 to 19 digits, ISO/IEC 7812, of a network that is known."""

from __future__ import annotations

import re

from enricher.pii.kind import AFTER_NUMBER, BEFORE_NUMBER, GAP, Kind, digits_of, mask_number

_PREFIX = "(?:4[0-9]|5[0-8]|2[2-7]|3[04-9]|6[02-57]|8[12])"
_WRITTEN = "|".join(
    (
        f"{_PREFIX}[0-9]{{11,17}}",
        f"{_PREFIX}[0-9]{{2}}(?:{GAP}[0-9]{{4}}){{3}}(?:{GAP}[0-9]{{1,3}})?",
        f"3[0-9]{{3}}{GAP}[0-9]{{6}}{GAP}[0-9]{{4,5}}",
        f"4[0-9]{{3}}(?:{GAP}[0-9]{{3}}){{3}}",
    )
)
"""In one piece, in fours, as American Express and Diners Club print theirs, or an old Visa's."""
_NETWORK = re.compile(
    r"""
    4(?:\d{12}|\d{15}|\d{18})                # Visa
    |(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}  # Mastercard
    |3[47]\d{13}                            # American Express
    |3(?:0[0-5]|[689]\d)\d{11,16}           # Diners Club
    |35(?:2[89]|[3-8]\d)\d{12,15}           # JCB
    |(?:5[0678]|6[02-57])\d{11,17}          # RuPay, Maestro, Discover, UnionPay
    |8[12]\d{14,17}                         # RuPay, UnionPay
    """,
    re.VERBOSE | re.ASCII,
)
_GROUP = re.compile("%20|([0-9]+)")
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")
_LENGTHS = range(12, 20)
_BIN = 6
_BIN_FROM = 15
"""Digits from which on enough is hidden between the first six and the last four."""


def is_luhn(digits: str) -> bool:
    """Say whether the last digit is right by the Luhn algorithm (ISO/IEC 7812-1, annex B)."""
    data = digits.encode()
    total = sum(data[-1::-2]) + sum(data[-2::-2].translate(_DOUBLED))
    return (total - ord("0") * len(data)) % 10 == 0


def is_card(digits: str) -> bool:
    """Say whether digits are the number of a card: of a known network, and Luhn holds."""
    return _NETWORK.fullmatch(digits) is not None and is_luhn(digits)


def _fit(text: str) -> int:
    ends = [found.end() for found in _GROUP.finditer(text) if found[1]]
    return next((end for end in reversed(ends) if is_card(digits_of(text[:end]))), 0)


def _mask(text: str) -> str:
    return mask_number(text, _LENGTHS)


def mask_but_bin(text: str) -> str:
    """Hide a number but its first six digits, which name the bank, and its last four."""
    is_long = len(digits_of(text)) >= _BIN_FROM
    return mask_number(text, _LENGTHS, first=_BIN if is_long else 0)


CARD = Kind(
    name="card",
    pattern=f"{BEFORE_NUMBER}({_WRITTEN}){AFTER_NUMBER}",
    fit=_fit,
    mask=_mask,
    normal=digits_of,
    has_checksum=True,
)
