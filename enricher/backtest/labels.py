"""Labels: which events of history were fraud, as somebody found out later."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from enricher.model import UserError

_NO_NAMES = frozenset({"fraud", "episode"})
"""Fields of a label that never name an event."""
_NAME_TYPES: dict[type, type] = {str: str, int: int}
"""What may name an event; KeyError for all else."""


@dataclass(slots=True)
class Labels:
    """The events that were fraud; memory grows with their number alone."""

    named_by: str
    """The field whose value names an event."""
    frauds: frozenset[Any]
    """Values of the field, of those that were fraud."""
    seen: set[Any] = field(default_factory=set)
    """Those of them that events of the history had."""


def read_labels(file: Path, name: str | None = None) -> Labels:
    """Read a file of lines such as `{"payment_id": "pay_1", "fraud": true}`.

    A line whose `fraud` is false says nothing. Raises UserError that names file and line.

    Args:
        file: of JSON lines.
        name: field that names an event, in the label and in the event; by default the first field
            of the first label.
    """
    frauds = set()
    number = 0
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):  # noqa: B007 - for the message
                if line.strip():
                    label = orjson.loads(line)
                    name = name or _name_in(label)
                    if label.get("fraud", True):
                        frauds.add(_NAME_TYPES[type(label[name])](label[name]))
    except OSError as error:
        raise UserError(f"labels {file} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        example = f'{{"{name or "payment_id"}": "…", "fraud": true}}'
        raise UserError(f"{file}:{number}: write {example}, one a line") from None
    if name is None:
        raise UserError(f"{file}: there are no labels")
    return Labels(name, frozenset(frauds))


def _name_in(label: dict[str, Any]) -> str:
    return next((name for name, _ in label.items() if name not in _NO_NAMES), "")
