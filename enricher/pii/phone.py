"""Telephone numbers: Indian mobiles (ten digits from 6 to 9 on), and any with a `+`, E.164."""

from __future__ import annotations

from enricher.pii.kind import AFTER_NUMBER, BEFORE_NUMBER, GAP, Kind, digits_of, mask_number

_PLUS = r"(?:\+|%2B)"
_MOBILE = "|".join(
    (
        "[6-9][0-9]{9}",
        f"[6-9][0-9]{{4}}{GAP}[0-9]{{5}}",
        f"[6-9][0-9]{{2}}{GAP}[0-9]{{3}}{GAP}[0-9]{{4}}",
        f"[6-9][0-9]{{3}}{GAP}[0-9]{{3}}{GAP}[0-9]{{3}}",
    )
)
_INDIAN = f"(?:(?:{_PLUS}|00)?91|0)?{GAP}?(?:{_MOBILE})"
_FOREIGN = rf"{_PLUS}[1-9](?:[ .()-]{{0,2}}[0-9]){{7,14}}"
_DIGITS = range(7, 16)
"""E.164 has fifteen at most."""


def _mask(text: str) -> str:
    return mask_number(text, _DIGITS)


def _normal(text: str) -> str:
    digits = digits_of(text).lstrip("0")
    return f"91{digits}" if len(digits) == 10 else digits


PHONE = Kind(
    name="phone",
    pattern=f"{BEFORE_NUMBER}({_INDIAN}|{_FOREIGN}){AFTER_NUMBER}",
    fit=len,
    mask=_mask,
    normal=_normal,
)
