"""Write constants, copies and texts."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, field_validator

from enricher import path, template
from enricher.model import Event
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage


class Set(Stage):
    """Write fields: constants, copies of other fields, texts with `{field}` in them.

    A text that is one `{field}` alone copies the value with its type. Where a field is missing,
    nothing is written. `{$now}`, `{$hostname}`, `{$version}` and `{$pipeline}` are known.
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
        constants: dict[str, Any] = {}
        computed = []
        for target, value in self.fields.items():
            parts = template.parse(value) if isinstance(value, str) else ()
            if not isinstance(value, str):
                constants[target] = value
            elif len(parts) == 1 and parts[0].keys and not parts[0].format:
                computed.append((path.setter(target), path.getter(path.render(parts[0].keys))))
            elif len(parts) == 1 and not parts[0].keys and parts[0].builtin in ("", *CONSTANT):
                constant = parts[0].literal
                if parts[0].builtin:
                    constant = context.builtins[parts[0].builtin]()
                constants[target] = constant
            else:
                render = template.renderer(value, context.builtins)
                computed.append((path.setter(target), render))
        write, steps = path.writer(constants), tuple(computed)

        def set_fields(event: Event) -> None:
            write(event)
            for put, compute in steps:
                value = compute(event)
                if value is not None:
                    put(event, value)

        return set_fields


CONSTANT = ("hostname", "version", "pipeline")
"""Builtins that do not change while the plan lives."""
