"""The records that the tests of a pipeline file give.

A record's timestamp is the test's `timestamp:`. Where that is not given it is the event's own
time, if it can be read, else `DEFAULT_TIMESTAMP`: a test says the same on every day.
`timestamp: null` makes it a file's record, which has none.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from enricher import path
from enricher.config import PipelineConfig
from enricher.duration import microseconds
from enricher.expectation import Expectation, InlineTest, Step
from enricher.model import Record
from enricher.moment import read, to_epoch_ms, zone
from enricher.plan import Plan
from enricher.stages.timestamp import Timestamp

DEFAULT_TIMESTAMP = to_epoch_ms(datetime(2025, 10, 20, tzinfo=UTC))
"""Of a record whose event has no readable time: 2025-10-20T00:00:00Z, in milliseconds."""
RECORD_ID = "test"
"""The id of a test's record, for `expect: {id: test}`; a sequence has `test-1`, `test-2`, …"""


_NOT_LATE = timedelta()


class Given(NamedTuple):
    """A record, and what must come of it."""

    record: Record
    expects: tuple[Expectation, ...] = ()
    name: str = ""
    """Begins the paths of what comes out otherwise."""


class BadStep(ValueError):  # noqa: N818 - as the rest of a test's words
    """A test that no record can be made of."""

    def __init__(self, message: str, *where: str | int) -> None:
        super().__init__(message)
        self.where = where
        """In the test."""


class Clock(NamedTuple):
    """Where an event has its own time."""

    own_ms: Callable[[bytes], int | None]
    """Reads it; None where it cannot be read."""
    later: Callable[[Any, timedelta], Any]
    """Gives the event of a later time. Raises ValueError."""


def given(test: InlineTest, clock: Clock) -> list[Given]:
    """Make the records of a test. Raises BadStep."""
    last = (test.expect,) if test.expect else ()
    if not test.sequence:
        return [Given(_record(test, test.given, clock, RECORD_ID), last)]
    made: list[Given] = []
    for at, step in enumerate(test.sequence):
        for copy in range(step.times):
            late = timedelta(microseconds=copy * microseconds(step.every) if step.every else 0)
            name = f"{RECORD_ID}-{len(made) + 1}"
            try:
                event = clock.later(step.given, late) if late else step.given
                record = _record(step, event, clock, name, late)
            except (ValueError, OverflowError) as error:
                field = error.where if isinstance(error, BadStep) else ("every",)
                raise BadStep(str(error), "sequence", at, *field) from None
            made.append(Given(record))
        if step.expect:
            made[-1] = made[-1]._replace(expects=(step.expect,), name=f"sequence[{at}].")
    made[-1] = made[-1]._replace(expects=made[-1].expects + last)
    return made


def _record(
    test: InlineTest | Step, event: Any, clock: Clock, name: str, late: timedelta = _NOT_LATE
) -> Record:
    """Make one record. Raises BadStep for a bad timestamp."""
    value = as_bytes(event)
    timestamp: int | None = None
    try:
        if test.timestamp is not None:
            told = test.timestamp
            at = told if isinstance(told, int) else to_epoch_ms(read(told, UTC))
            timestamp = at + late // timedelta(milliseconds=1)
        elif "timestamp" not in test.model_fields_set:
            found = clock.own_ms(value)
            timestamp = DEFAULT_TIMESTAMP if found is None else found
    except (ValueError, OverflowError) as error:
        raise BadStep(f"no timestamp: {error}", "timestamp") from None
    _, _, number = name.partition("-")
    return Record(value, name, timestamp, "test/0", int(number or 0))


def as_bytes(value: object) -> bytes:
    """Write what a test gives: a text as it is, anything else as JSON."""
    if not isinstance(value, str):
        return orjson.dumps(value, default=str)
    return value.encode("utf-8", "surrogatepass")


def clock_of(config: PipelineConfig, plan: Plan) -> Clock:
    """Find where an event has its own time: where the first timestamp stage reads it."""
    stage = next((stage for stage in config.stages if isinstance(stage, Timestamp)), Timestamp())
    get, put, default = path.getter(stage.field), path.setter(stage.field), zone(stage.timezone)

    def own_ms(value: bytes) -> int | None:
        event: Any = plan.decode([Record(value, RECORD_ID, None, "test/0", 0)])[0]
        text = get(event) if type(event) is dict else None
        try:
            return to_epoch_ms(read(text, default)) if type(text) is str else None
        except (ValueError, OverflowError):
            return None

    def later(event: Any, late: timedelta) -> Any:
        text = get(event) if type(event) is dict else None
        if type(text) is not str:
            raise ValueError(f"the event has no {stage.field}: there is nothing to make later")
        moved = {**event}
        put(moved, (read(text, default) + late).isoformat())
        return moved

    return Clock(own_ms, later)
