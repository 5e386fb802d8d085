"""Rename fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from enricher import path
from enricher.model import Event, Failure
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage


class Rename(Stage):
    """Move values to other names; a field that is absent is left alone."""

    kind: ClassVar[str] = "rename"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "into an object",
            "rename: {fields: {ip: client.ip}}",
            {"ip": "1.1.1.1"},
            {"client": {"ip": "1.1.1.1"}},
        ),
    )
    fields: dict[FieldPath, FieldPath] = Field(min_length=1, description="New name by old name.")

    def compile(self, context: Context) -> EventFunction:  # noqa: ARG002
        """Build the function."""
        moves = tuple(
            (path.getter(old), path.remover(old), path.setter(new), path.setter(old))
            for old, new in self.fields.items()
        )

        def rename(event: Event) -> None:
            for get, remove, put, restore in moves:
                value = get(event)
                if value is not None:
                    remove(event)
                    try:
                        put(event, value)
                    except Failure:
                        restore(event, value)
                        raise

        return rename

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return [*self.fields, *self.fields.values()]
