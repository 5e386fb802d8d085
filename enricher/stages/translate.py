"""Translate a value by a table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from enricher import document, path, template
from enricher.model import Event
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage


class Translate(Stage):
    """Look a value up in a table and write what stands there.

    A value that the table lacks becomes `default`; without a default nothing is written. An
    absent or null field is left alone. A number or a boolean is looked up as JSON writes it.
    """

    kind: ClassVar[str] = "translate"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "a region by state",
            "translate: {field: state, target: region, table: {kerala: south}, default: other}",
            {"state": "kerala"},
            {"state": "kerala", "region": "south"},
        ),
        Example(
            "not in the table",
            "translate: {field: state, target: region, table: {kerala: south}, default: other}",
            {"state": "goa"},
            {"state": "goa", "region": "other"},
        ),
    )
    field: FieldPath
    target: FieldPath
    table: dict[str, Any] | None = Field(default=None, description="Values by key.")
    file: Path | None = Field(default=None, description="A YAML or JSON file with the table.")
    default: Any = Field(default=None, description="For a value that the table lacks.")

    @model_validator(mode="after")
    def _one_table(self) -> Translate:
        if (self.table is None) == (self.file is None):
            raise ValueError("give either table or file")
        return self

    def compile(self, context: Context) -> EventFunction:
        """Load the table and build the function. Raises ValueError for a bad file."""
        get, put = path.getter(self.field), path.setter(self.target)
        table = load_table(context.path(self.file)) if self.file else self.table or {}
        default, as_text = self.default, template.as_text

        def translate(event: Event) -> None:
            value = get(event)
            if value is None:
                return
            found = table.get(value if type(value) is str else as_text(value), default)
            if found is not None:
                put(event, found)

        return translate

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return [self.target]

    def repeats(self) -> bool:
        """Say that its texts come out of a table."""
        return True


def load_table(file: Path) -> dict[str, Any]:
    """Read a table from a YAML or JSON file. Raises ValueError that names the file."""
    source = document.read_file(file)
    if source.problems:
        raise ValueError("; ".join(str(problem) for problem in source.problems))
    if not isinstance(source.value, dict):
        raise ValueError(f"{file}: a table is one mapping")  # noqa: TRY004 - a mistake in a file
    return source.value
