"""Aadhaar numbers: 12 digits, the first no 0 or 1, the last by the Verhoeff algorithm."""

from __future__ import annotations

from enricher.pii.kind import AFTER_NUMBER, BEFORE_NUMBER, GAP, Kind, digits_of, mask_number

_LENGTH = 12


def _products() -> tuple[tuple[int, ...], ...]:
    """Give the multiplication table of the dihedral group of order ten."""
    return tuple(
        tuple(
            (5 if (a < 5) != (b < 5) else 0) + ((a + b) if a < 5 else (a - b)) % 5
            for b in range(10)
        )
        for a in range(10)
    )


def _permutations() -> tuple[tuple[int, ...], ...]:
    """Give what a digit is taken for, by its place from the right."""
    rows = [tuple(range(10))]
    for _ in range(7):
        rows.append(tuple(rows[-1][_STEP[digit]] for digit in range(10)))
    return tuple(rows)


_STEP = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
_PRODUCT = _products()
_PERMUTATION = _permutations()


def is_verhoeff(digits: str) -> bool:
    """Say whether the last digit is right by the Verhoeff algorithm."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = _PRODUCT[check][_PERMUTATION[place % 8][int(digit)]]
    return check == 0


def _fit(text: str) -> int:
    return len(text) if is_verhoeff(digits_of(text)) else 0


def _mask(text: str) -> str:
    return mask_number(text, (_LENGTH,))


AADHAAR = Kind(
    name="aadhaar",
    pattern=f"{BEFORE_NUMBER}([2-9][0-9]{{11}}|[2-9][0-9]{{3}}(?:{GAP}[0-9]{{4}}){{2}})"
    f"{AFTER_NUMBER}",
    fit=_fit,
    mask=_mask,
    normal=digits_of,
    has_checksum=True,
)
