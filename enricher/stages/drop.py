"""Throw events away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from enricher.model import Drop, Event
from enricher.stages.base import Context, EventFunction, Example, Stage


class DropEvents(Stage):
    """Throw the event away, on purpose and counted; give it a `when`."""

    kind: ClassVar[str] = "drop"
    drops: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "debug lines go",
            "drop: {when: 'level == \"DEBUG\"'}",
            {"level": "INFO"},
            {"level": "INFO"},
        ),
    )

    def compile(self, context: Context) -> EventFunction:  # noqa: ARG002
        """Build the function."""

        def drop(event: Event) -> None:  # noqa: ARG001
            raise Drop

        return drop

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return []
