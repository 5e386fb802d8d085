"""Sort a number into ranges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic import BaseModel, Field, model_validator

from enricher import path
from enricher.connections import STRICT
from enricher.functions import is_number, kind_of
from enricher.model import Event, Failure
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage


class Range(BaseModel):
    """What is written for a number below a bound."""

    model_config = STRICT
    below: float | None = Field(default=None, description="Upper bound, exclusive; none: the rest.")
    set: dict[FieldPath, Any] = Field(description="Fields and the values they get.")


class Bucket(Stage):
    """Write labels by the range that a number falls in; bounds are exclusive above."""

    kind: ClassVar[str] = "bucket"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "the bound itself belongs to the next range",
            """bucket:
  field: amount
  ranges:
    - {below: 100, set: {size: small}}
    - {set: {size: large}}""",
            {"amount": 100},
            {"amount": 100, "size": "large"},
        ),
    )
    field: FieldPath
    ranges: list[Range] = Field(
        min_length=1, description="By rising bound; the last may have none."
    )

    @model_validator(mode="after")
    def _rising(self) -> Bucket:
        bounds = [one.below for one in self.ranges[:-1]]
        last = self.ranges[-1].below
        known = [bound for bound in [*bounds, last] if bound is not None]
        if None in bounds or known != sorted(set(known)):
            raise ValueError("the bounds must rise, and only the last range may have none")
        return self

    def compile(self, context: Context) -> EventFunction:  # noqa: ARG002
        """Sort the ranges into a table and build the function."""
        get, field, search = path.getter(self.field), self.field, bisect_right
        bounds = [one.below for one in self.ranges if one.below is not None]
        write = path.chooser([one.set for one in self.ranges] + [{}])

        def bucket(event: Event) -> None:
            value = get(event)
            if value is None:
                return
            if not is_number(value):
                raise Failure(f"{field} is {kind_of(value)}, not a number")
            write(event, search(bounds, value))

        return bucket

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return [field for one in self.ranges for field in one.set]
