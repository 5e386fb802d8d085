"""Remove fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from enricher import path
from enricher.model import Event
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage


class Remove(Stage):
    """Remove fields; one that is absent is no failure."""

    kind: ClassVar[str] = "remove"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "top-level and nested",
            "remove: {fields: [a, b.c]}",
            {"a": 1, "b": {"c": 2, "d": 3}},
            {"b": {"d": 3}},
        ),
    )
    fields: list[FieldPath] = Field(min_length=1, description="Paths such as `a` or `b.c`.")

    def compile(self, context: Context) -> EventFunction:  # noqa: ARG002
        """Build the function."""
        removers = tuple(path.remover(field) for field in self.fields)

        def remove(event: Event) -> None:
            for remove_one in removers:
                remove_one(event)

        return remove

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return self.fields
