"""Bring a text into one form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from enricher import path
from enricher.model import Event
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage, require_text

LIMIT = 1 << 14
"""Texts whose form is remembered before the memory starts again."""
MAX_REMEMBERED = 256
"""Characters of a text that is still remembered."""


class Normalize(Stage):
    """Trim and lower a text, replace parts of it, then map it by a table."""

    kind: ClassVar[str] = "normalize"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "one name for a state",
            "normalize: {field: s, lower: true, replace: {' ': _}, table: {nct_of_delhi: delhi}}",
            {"s": "NCT of Delhi"},
            {"s": "delhi"},
        ),
    )
    field: FieldPath
    trim: bool = Field(default=False, description="Take white space off both ends, first.")
    lower: bool = Field(default=False, description="Write capitals small, after that.")
    replace: dict[str, str] = Field(default_factory=dict, description="Part by part, in order.")
    table: dict[str, str] = Field(default_factory=dict, description="Whole texts, at the end.")

    def compile(self, context: Context) -> EventFunction:  # noqa: ARG002
        """Build the function; forms are remembered, since texts repeat."""
        get, put = path.getter(self.field), path.setter(self.field)
        field, change = self.field, self.change
        known: dict[str, str] = {}

        def normalize(event: Event) -> None:
            value = get(event)
            if value is not None:
                form = known.get(require_text(value, field))
                if form is None:
                    form = change(value)
                    if len(known) >= LIMIT:
                        known.clear()
                    if len(value) <= MAX_REMEMBERED:
                        known[value] = form
                put(event, form)

        return normalize

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return [self.field]

    def repeats(self) -> bool:
        """Say that its texts come out of a table."""
        return True

    def change(self, text: str) -> str:
        """Give the form of a text."""
        text = text.strip() if self.trim else text
        text = text.lower() if self.lower else text
        for old, new in self.replace.items():
            text = text.replace(old, new)
        return self.table.get(text, text)
