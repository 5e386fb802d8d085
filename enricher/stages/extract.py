"""Take parts out of a text by a pattern."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field, model_validator

from enricher import path
from enricher.model import Event, Shared
from enricher.path import FieldPath
from enricher.pattern import compile_pattern, group_names
from enricher.stages.base import Context, EventFunction, Example, Stage, require_text

LIMIT = 1 << 13
"""Texts whose parts are remembered before the memory starts again."""
MAX_REMEMBERED = 256
"""Characters of a text that is still remembered."""


class Extract(Stage):
    """Search a text by an RE2 pattern; each named group is written to the field of its name.

    RE2's time is linear in the text, whatever the pattern. Where it does not occur, nothing is
    written.
    """

    kind: ClassVar[str] = "extract"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "the bank's handle of a UPI address",
            "extract: {field: vpa, pattern: '@(?P<bank>[A-Za-z]+)[^@]*$', lower: true}",
            {"vpa": "Name@OKHDFCBANK"},
            {"vpa": "Name@OKHDFCBANK", "bank": "okhdfcbank"},
        ),
    )
    field: FieldPath
    pattern: str = Field(description="RE2 with named groups: `(?P<name>…)`.")
    lower: bool = Field(default=False, description="Write the parts in lower case.")

    @model_validator(mode="after")
    def _check_pattern(self) -> Extract:
        if not group_names(self.pattern):
            raise ValueError("the pattern needs a named group: (?P<name>…)")
        return self

    def compile(self, context: Context) -> EventFunction:  # noqa: ARG002
        """Compile the pattern and build the function."""
        get, field, search = path.getter(self.field), self.field, compile_pattern(self.pattern)
        lower, groups = self.lower, group_names(self.pattern)
        known: dict[str, Shared] = {}

        def parts_of(text: str) -> Shared:
            found = search(text) or ()
            parts = {name: found[number] for name, number in groups.items() if found}
            event = Shared(
                {n: p.lower() if lower else p for n, p in parts.items() if p is not None}
            )
            if len(known) >= LIMIT:
                known.clear()
            if len(text) <= MAX_REMEMBERED:
                known[text] = event
            return event

        def extract(event: Event) -> None:
            value = get(event)
            if value is not None:
                event.update(known.get(require_text(value, field)) or parts_of(value))

        return extract

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return group_names(self.pattern)
