"""Give a field another type."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal

from pydantic import Field

from enricher import path, template
from enricher.functions import INT64, is_number, to_number
from enricher.model import Event, Failure
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage

_BOOLEANS = {"true": True, "false": False}


class Convert(Stage):
    """Convert a value: text to a number, an integer or a boolean; anything to text.

    A number never comes from a text that is none: that is a failure, and the field stays as it
    is. A boolean is no number. An absent or null field is left alone.
    """

    kind: ClassVar[str] = "convert"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "numeric text",
            "convert: {field: amount, type: number}",
            {"amount": "12.50"},
            {"amount": 12.5},
        ),
        Example(
            "text that is no number",
            "convert: {name: amount, field: amount, type: number}",
            {"amount": "abc"},
            {
                "amount": "abc",
                "tags": ["_amount_failure"],
                "failures": {"amount": "amount is no number: 'abc'"},
            },
        ),
    )
    field: FieldPath
    target: FieldPath | None = Field(default=None, description="The field itself where not given.")
    type: Literal["number", "integer", "boolean", "text"] = Field(
        default="number", description="What the value becomes; one that cannot is a failure."
    )

    def compile(self, context: Context) -> EventFunction:  # noqa: ARG002
        """Choose the conversion and build the function."""
        get, put = path.getter(self.field), path.setter(self.target or self.field)
        field, in_place = self.field, self.target in (None, self.field)
        change, right_types = _CONVERSIONS[self.type]

        def convert(event: Event) -> None:
            value = get(event)
            if value is None or (in_place and type(value) in right_types):
                return
            put(event, value if type(value) in right_types else change(value, field))

        return convert

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return [self.target or self.field]


def to_integer(value: Any, field: str) -> int:
    """Read a whole number from a text or a float. Raises `Failure`."""
    number = value if is_number(value) else to_number(value, field)
    if number != int(number):
        raise Failure(f"{field} is no whole number: {number}")
    if int(number) not in INT64:
        raise Failure(f"{field} is an integer outside 64 bits")
    return int(number)


def to_boolean(value: Any, field: str) -> bool:
    """Read `true` or `false`. Raises `Failure`."""
    found = _BOOLEANS.get(value.strip().lower()) if type(value) is str else None
    if found is None:
        raise Failure(f"{field} is neither true nor false")
    return found


def to_text(value: Any, field: str) -> str:  # noqa: ARG001 - one shape for all conversions
    """Write any value as text."""
    return template.as_text(value)


_CONVERSIONS: dict[str, tuple[Callable[[Any, str], Any], tuple[type, ...]]] = {
    "number": (to_number, (int, float)),
    "integer": (to_integer, (int,)),
    "boolean": (to_boolean, (bool,)),
    "text": (to_text, (str,)),
}
