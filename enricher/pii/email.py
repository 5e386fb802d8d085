"""E-mail addresses: `rakesh.sharma@example.com`. What is not ASCII is a letter of its name."""

from __future__ import annotations

from enricher.pii.address import AT, NAME_HINT, mask_name, normal
from enricher.pii.kind import Kind

_NAME = r"[\w.%+*?-]"

EMAIL = Kind(
    name="email",
    pattern=rf"(?:^|[^\w.%+*?-])({_NAME}+{AT}(?:[\w?-]+\.)+(?:[A-Za-z]{{2,}}|[?]{{2,}}))\b",
    fit=len,
    mask=mask_name,
    normal=normal,
    hint=rf'{NAME_HINT}[^@"\x00-\x20]*\.',
)
