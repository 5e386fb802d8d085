"""What a UPI address and an e-mail address share: a name, an `@`, and a place that is kept."""

from __future__ import annotations

import re

from enricher.pii.kind import mask_whole

AT = "(?:@|%40)"
"""In a URL the sign is escaped."""
_SEEN = r'[^*@"\x00-\x20]'
NAME_HINT = (
    rf"(?:{_SEEN}{{3}}"
    rf'|(?:^|[@"\x00-\x20]|(?:^|[^*])\*{{1,3}}){_SEEN}{{2}}'
    rf'|(?:^|[@"\x00-\x20]|(?:^|[^*])\*){_SEEN}){AT}'
)
"""A name that is not masked yet: what `mask_name` leaves does not match."""
_SIGN = re.compile(rf".*({AT})", re.DOTALL)


def mask_name(text: str) -> str:
    """Hide the name in front of the last `@`; without one, all is hidden.

    Of eight characters and more two stay at each end, of four and more one.
    """
    sign = _SIGN.match(text)
    if sign is None or not sign.start(1):
        return mask_whole(text)
    length = sign.start(1)
    kept = 2 if length >= 8 else 1 if length >= 4 else 0
    return f"{text[:kept]}{'*' * (length - 2 * kept)}{text[length - kept :]}"


def normal(text: str) -> str:
    """Give an address in small letters, its sign not escaped."""
    return text.strip().replace("%40", "@").lower()
