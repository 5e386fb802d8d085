"""Translate a value by a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from enricher import path, template
from enricher.model import Event
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage
from enricher.table import Columns, load_table


class Translate(Stage):
    """Look a value up in a table and write what stands there.

    A value that the table lacks becomes `default`; without a default nothing is written. An
    absent or null field is left alone. A number or a boolean is looked up as JSON writes it.

    A table may have a file of its own: YAML, JSON, or CSV (a name ending in `.csv`) for large
    ones. CSV has two columns, or names in its first line of which `key_column` and `value_column`
    choose two; its values are texts. A key that is there twice is a mistake. The file is read
    again when it changes; one with a mistake is not taken, and the table from before stays.
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
        Example(
            "a table in a file of two columns",
            "translate: {field: state, target: region, file: regions.csv}",
            {"state": "kerala"},
            {"state": "kerala", "region": "south"},
            files={"regions.csv": "kerala,south\ngujarat,west\n"},
        ),
        Example(
            "two of several columns",
            "translate: {field: bank.code, target: bank.name, file: banks.csv, key_column: code, "
            "value_column: name}",
            {"bank": {"code": 7}},
            {"bank": {"code": 7, "name": "HDFC Bank, Mumbai"}},
            files={"banks.csv": 'name,opened,code\n"HDFC Bank, Mumbai",1994,7\n'},
        ),
    )
    field: FieldPath
    target: FieldPath
    table: dict[str, Any] | None = Field(default=None, description="Values by key.")
    file: Path | None = Field(default=None, description="A YAML, JSON or CSV file of it.")
    key_column: str | None = Field(default=None, description="Of a CSV file with a first line.")
    value_column: str | None = Field(default=None, description="What is written.")
    default: Any = Field(default=None, description="For a value that the table lacks.")

    @model_validator(mode="after")
    def _one_table(self) -> Translate:
        if (self.table is None) == (self.file is None):
            raise ValueError("give either table or file")
        if (self.key_column is None) != (self.value_column is None):
            raise ValueError("give both key_column and value_column, or none")
        if self.key_column is not None and self.file is None:
            raise ValueError("key_column and value_column are for a file")
        return self

    def compile(self, context: Context) -> EventFunction:
        """Load the table and build the function. Raises ValueError for a bad file."""
        get, put = path.getter(self.field), path.setter(self.target)
        values = self.values(context)
        default, as_text = self.default, template.as_text

        def translate(event: Event) -> None:
            value = get(event)
            if value is None:
                return
            found = values.get(value if type(value) is str else as_text(value), default)
            if found is not None:
                put(event, found)

        return translate

    def values(self, context: Context) -> Mapping[str, Any]:
        """Give the table. Raises ValueError for a bad file."""
        if self.file is None:
            return self.table or {}
        key, value = self.key_column, self.value_column
        columns = Columns(key, value) if key is not None and value is not None else None
        return load_table(context.path(self.file), columns)

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return [self.target]

    def repeats(self) -> bool:
        """Say that its texts come out of a table."""
        return True
