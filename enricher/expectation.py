"""The tests that stand in a pipeline file: what is given, and what must come of it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, model_validator

from enricher.connections import STRICT
from enricher.duration import Duration


class ExpectedOutput(BaseModel):
    """An output; what is not named is not compared."""

    model_config = STRICT
    name: str = Field(description="Of the item of `outputs`.")
    key: str | None = Field(default=None, description="Of the message, or in Redis.")
    body: dict[str, Any] | None = Field(default=None, description="Fields and their values.")


class Expectation(BaseModel):
    """What must come out; what is not named is not compared."""

    model_config = STRICT
    index: str | None = Field(default=None, description="Where the document goes.")
    id: str | None = Field(default=None, description="Of the document.")
    event: dict[str, Any] | None = Field(default=None, description="Fields and their values.")
    absent: list[str] = Field(default_factory=list, description="Fields that must not be there.")
    alerts: list[str] | None = Field(default=None, description="Names of all that fire.")
    outputs: list[str | ExpectedOutput] | None = Field(
        default=None, description="All that are sent, in order: a name, or more of what it holds."
    )
    tags: list[str] | None = Field(default=None, description="All of them, in order.")
    dropped: bool = Field(default=False, description="A stage throws the event away.")
    dead_letter: dict[str, str] | None = Field(default=None, description="`stage`, `error`, …")


class Step(BaseModel):
    """One event of a sequence, or several of its kind."""

    model_config = STRICT
    given: Any = Field(description="The event, or a text that is the raw record.")
    timestamp: str | int | None = Field(default=None, description="The broker's; ms or ISO 8601.")
    times: int = Field(default=1, ge=1, le=10_000, description="So many of them.")
    every: Duration | None = Field(
        default=None,
        description="Each of them is so much later than the one before, by the broker's timestamp "
        "and by the field that the `timestamp` stage reads.",
    )
    expect: Expectation | None = Field(default=None, description="Of the last of them.")


class InlineTest(BaseModel):
    """One example of what the pipeline does: an event, or a sequence of them in their order."""

    model_config = STRICT
    name: str = Field(description="What it shows, as a sentence.")
    given: Any = Field(default=None, description="The event, or a text that is the raw record.")
    timestamp: str | int | None = Field(default=None, description="The broker's; ms or ISO 8601.")
    sequence: list[Step] = Field(
        default_factory=list,
        description="In place of `given`: events that come one after the other. What stages "
        "remember begins empty for every test.",
    )
    lookups: dict[str, Any] = Field(default_factory=dict, description="Stored values by key.")
    expect: Expectation | None = Field(
        default=None, description="Of the event; with `sequence` of the last one."
    )

    @model_validator(mode="after")
    def _is_either(self) -> InlineTest:
        if self.sequence and {"given", "timestamp"} & self.model_fields_set:
            raise ValueError("give either one event (given, timestamp) or a sequence of them")
        if not self.sequence and "given" not in self.model_fields_set:
            raise ValueError("give an event (given), or a sequence of them")
        if self.expect is None and not any(step.expect for step in self.sequence):
            raise ValueError("write what must come of it: expect")
        return self
