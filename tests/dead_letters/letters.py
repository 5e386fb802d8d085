"""Letters for tests."""

from __future__ import annotations

from typing import Any

from enricher.dead_letters.letter import Letter
from enricher.model import DeadLetter, Record


def letter(number: int = 0, **fields: Any) -> Letter:
    """Make the letter of the record with this offset; fields of it, of the record or the reason."""
    record = Record(b"{broken", f"logs-0-{number}", 1_732_190_400_000, "logs/0", number, None)
    record = record._replace(**{k: fields.pop(k) for k in Record._fields if k in fields})
    dead = DeadLetter(record, "json", "NotJson", "unexpected character: line 1 column 1")
    dead = dead._replace(**{k: fields.pop(k) for k in DeadLetter._fields if k in fields})
    time = f"2025-10-20T10:00:{number:02}.000+00:00"
    return Letter(dead, "p@1", time)._replace(**fields)
