"""Write constants, copies and texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from pydantic import Field, field_validator

from enricher import path, template
from enricher.inline import define
from enricher.model import Event
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage


class Set(Stage):
    """Write fields: constants, copies of other fields, texts with `{field}` in them.

    They are written in the order of the file. A text that is one `{field}` alone copies the value
    with its type. Where a field is missing, nothing is written. `{$now}`, `{$hostname}`,
    `{$version}` and `{$pipeline}` are known.
    """

    kind: ClassVar[str] = "set"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "a constant, a copy and a text",
            "set: {fields: {env: prod, days: '{user.days}', who: 'user {user.id}'}}",
            {"user": {"days": 5, "id": "u1"}},
            {"user": {"days": 5, "id": "u1"}, "env": "prod", "days": 5, "who": "user u1"},
        ),
    )
    fields: dict[FieldPath, Any] = Field(min_length=1, description="Fields and what they get.")

    @field_validator("fields")
    @classmethod
    def _check_templates(cls, fields: dict[str, Any]) -> dict[str, Any]:
        for value in fields.values():
            if isinstance(value, str):
                template.parse(value)
        return fields

    def compile(self, context: Context) -> EventFunction:
        """Sort constants from templates and build the function."""
        first: dict[str, Any] = {}
        last: dict[str, Any] = {}
        computed: list[tuple[Any, Any]] = []
        for target, value in self.fields.items():
            constant, compute = choose(value, context)
            if compute is None and not computed:
                first[target] = constant
            elif compute is None:
                last[target] = constant
            else:
                between = {key: define(("event",), "v", {"v": v}) for key, v in last.items()}
                pairs = {**between, target: compute}
                computed += [(path.setter(key), function) for key, function in pairs.items()]
                last = {}
        write_first = path.writer(first) if first else None
        write_last = path.writer(last) if last else None
        steps = tuple(computed)

        def set_fields(event: Event) -> None:
            if write_first is not None:
                write_first(event)
            for put, compute in steps:
                value = compute(event)
                if value is not None:
                    put(event, value)
            if write_last is not None:
                write_last(event)

        return set_fields

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return self.fields

    def repeats(self) -> bool:
        """Say whether nothing that it writes comes from an event."""
        texts = (value for value in self.fields.values() if isinstance(value, str))
        return not any(part.keys for text in texts for part in template.parse(text))


def choose(value: Any, context: Context) -> tuple[Any, Callable[[Event], Any] | None]:
    """Give a constant, or the function that computes the value."""
    if not isinstance(value, str):
        return value, None
    parts = template.parse(value)
    only = parts[0]
    if len(parts) == 1 and only.keys and not only.format:
        return None, path.getter(path.render(only.keys))
    if len(parts) == 1 and not only.keys and only.builtin in ("", *CONSTANT):
        return context.builtins[only.builtin]() if only.builtin else only.literal, None
    return None, template.renderer(value, context.builtins)


CONSTANT = ("hostname", "version", "pipeline")
"""Builtins that do not change while the plan lives."""
