"""Spans of time as authors write them: `30s`, `10m`, `1h`, `30d`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_PATTERN = r"[1-9][0-9]{0,5}[smhd]"


def microseconds(text: str) -> int:
    """Read a span of time. Raises ValueError."""
    if not re.fullmatch(_PATTERN, text):
        raise ValueError(f'"{text}" is no span of time: write 30s, 10m, 1h or 30d')
    return int(text[:-1]) * _SECONDS[text[-1]] * 1_000_000


def _check(text: str) -> str:
    microseconds(text)
    return text


Duration = Annotated[
    str,
    AfterValidator(_check),
    Field(
        description="Such as `30s`, `10m`, `1h` or `30d`.",
        json_schema_extra={"pattern": f"^{_PATTERN}$"},
    ),
]
