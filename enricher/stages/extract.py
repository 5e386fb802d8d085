"""Take parts out of a text by a pattern."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from enricher import path
from enricher.model import Event
from enricher.path import FieldPath
from enricher.pattern import compile_pattern, group_names
from enricher.stages.base import Context, EventFunction, Example, Stage, require_text


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
        get, search, field, lower = (
            path.getter(self.field),
            compile_pattern(self.pattern),
            self.field,
            self.lower,
        )
        groups = tuple((name, number) for name, number in group_names(self.pattern).items())

        def extract(event: Event) -> None:
            value = get(event)
            if value is not None:
                found = search(require_text(value, field))
                if found is not None:
                    for name, number in groups:
                        part = found[number]
                        if part is not None:
                            event[name] = part.lower() if lower else part

        return extract
