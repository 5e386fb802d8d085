"""Permanent account numbers of the income tax: `ABCPE1234F`; the fourth letter says whose."""

from __future__ import annotations

from enricher.pii.kind import ESCAPED, Kind, mask_code

_LENGTH = 10


def _mask(text: str) -> str:
    return mask_code(text, _LENGTH)


def _normal(text: str) -> str:
    return "".join(filter(str.isalnum, text)).upper()


PAN = Kind(
    name="pan",
    pattern=rf"(?:^|\W|{ESCAPED})"
    r"([A-Za-z]{3}[ABCFGHJLPTabcfghjlpt][A-Za-z][0-9]{4}[A-Za-z])(?:$|\W)",
    fit=len,
    mask=_mask,
    normal=_normal,
)
