"""Help for misspelt words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(word: str, known: Iterable[str]) -> str:
    """Give ` (did you mean "x"?)` where a known word is close, else nothing."""
    close = difflib.get_close_matches(word, list(known), 1)
    return f' (did you mean "{close[0]}"?)' if close else ""
