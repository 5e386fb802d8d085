"""Run the tests that stand in a pipeline file: the same plan, no network, no clock.

A record's timestamp is the test's `timestamp:`. Where that is not given it is the event's own
time, if it can be read, else `DEFAULT_TIMESTAMP`: a test says the same on every day.
`timestamp: null` makes it a file's record, which has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from enricher import path, template
from enricher.build import build
from enricher.config import Expectation, InlineTest, PipelineConfig
from enricher.lookups.store import Answer
from enricher.model import (
    ConfigError,
    DeadLetter,
    Document,
    Dropped,
    Event,
    Outcome,
    Problem,
    Record,
)
from enricher.moment import read, to_epoch_ms, zone
from enricher.plan import Plan
from enricher.stages.set import Set
from enricher.stages.timestamp import Timestamp

DEFAULT_TIMESTAMP = to_epoch_ms(datetime(2025, 10, 20, tzinfo=UTC))
"""Of a record whose event has no readable time: 2025-10-20T00:00:00Z, in milliseconds."""
RECORD_ID = "test"
"""The id of every test's record, for `expect: {id: test}`."""
_LETTER_FIELDS = ("stage", "error", "reason")


class Absent:
    """Stands where a field is not there at all; null is something else."""

    def __repr__(self) -> str:
        return "(absent)"


ABSENT = Absent()


class Difference(NamedTuple):
    """One thing that came out otherwise."""

    path: str
    """A field's path as `event.a.b`, or `index`, `id`, `alerts`, `tags`, `outcome`, …"""
    expected: object
    got: object


class Result(NamedTuple):
    """What came of one test."""

    name: str
    place: str
    """`file:line` of the test."""
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        """Say whether everything came out as expected."""
        return not self.differences


class TestLookups:
    """Answers from the `lookups:` of the test that runs."""

    lasting = False

    __test__ = False  # no class of pytest's

    def __init__(self) -> None:
        self.values: Mapping[str, Any] = {}

    async def get_many(
        self,
        keys: Sequence[str],
        hash_fields: Sequence[str] | None = None,  # noqa: ARG002 - the protocol's
    ) -> list[Answer]:
        """Give the stored values; a text stands for its raw bytes, so that it may be broken."""
        found = (self.values.get(key) for key in keys)
        return [None if value is None else as_bytes(value) for value in found]

    async def close(self) -> None:
        """Free nothing."""


async def run_tests(
    config: PipelineConfig, chosen: Callable[[str], bool] = lambda _name: True
) -> list[Result]:
    """Run the tests whose names are chosen, in order.

    Raises ConfigError where the pipeline cannot be built or a test asks for what cannot be.
    """
    lookups = TestLookups()
    plan = build(config, lookups)
    records = prepare(config, plan)
    results = []
    for number, (test, record) in enumerate(zip(config.pipeline.tests, records, strict=True)):
        if not chosen(test.name):
            continue
        lookups.values = test.lookups
        outcome = (await plan.process([record]))[0]
        place = config.document.problem(("tests", number), "")
        differences = tuple(compare(test.expect, outcome))
        results.append(Result(test.name, f"{place.file}:{place.line}", differences))
    return results


def prepare(config: PipelineConfig, plan: Plan) -> list[Record]:
    """Make the record of every test. Raises ConfigError with each mistake in the tests."""
    problems: list[Problem] = []
    records = []
    own_time = reader_of_time(config, plan)
    unpredictable = times_of_processing(config)
    for number, test in enumerate(config.pipeline.tests):
        where = ("tests", number)
        for field in mistakes(test.expect, unpredictable):
            message = f"{field} is the time of processing: no test can expect it"
            problems.append(config.document.problem((*where, "expect", "event", field), message))
        for field in (*(test.expect.event or ()), *test.expect.absent):
            try:
                path.parse(field)
            except ValueError as error:
                problems.append(config.document.problem((*where, "expect"), str(error)))
        for field in set(test.expect.dead_letter or ()) - set(_LETTER_FIELDS):
            message = f'unknown field "{field}": there are {", ".join(_LETTER_FIELDS)}'
            problems.append(config.document.problem((*where, "expect", "dead_letter"), message))
        try:
            records.append(record_of(test, own_time))
        except (ValueError, OverflowError) as error:
            message = f"no timestamp: {error}"
            problems.append(config.document.problem((*where, "timestamp"), message))
    if problems:
        raise ConfigError(problems)
    return records


def record_of(test: InlineTest, own_time: Callable[[bytes], int | None]) -> Record:
    """Make the record that a test gives. Raises ValueError for a bad timestamp."""
    value = as_bytes(test.given)
    timestamp: int | None
    if type(test.timestamp) is int:
        timestamp = test.timestamp
    elif type(test.timestamp) is str:
        timestamp = to_epoch_ms(read(test.timestamp, UTC))
    elif "timestamp" in test.model_fields_set:
        timestamp = None
    else:
        found = own_time(value)
        timestamp = DEFAULT_TIMESTAMP if found is None else found
    return Record(value, RECORD_ID, timestamp, "test/0", 0)


def as_bytes(value: object) -> bytes:
    """Write what a test gives: a text as it is, anything else as JSON."""
    if not isinstance(value, str):
        return orjson.dumps(value, default=str)
    return value.encode("utf-8", "surrogatepass")


def reader_of_time(config: PipelineConfig, plan: Plan) -> Callable[[bytes], int | None]:
    """Build the function that reads an event's own time, as the first timestamp stage does."""
    stage = next((stage for stage in config.stages if isinstance(stage, Timestamp)), Timestamp())
    get, default = path.getter(stage.field), zone(stage.timezone)

    def own_time(value: bytes) -> int | None:
        event: Any = plan.decode([Record(value, RECORD_ID, None, "test/0", 0)])[0]
        text = get(event) if type(event) is dict else None
        try:
            return to_epoch_ms(read(text, default)) if type(text) is str else None
        except (ValueError, OverflowError):
            return None

    return own_time


def times_of_processing(config: PipelineConfig) -> frozenset[str]:
    """Give the fields that hold `{$now}`."""
    return frozenset(
        field
        for stage in config.stages
        if isinstance(stage, Set)
        for field, value in stage.fields.items()
        if isinstance(value, str) and any(p.builtin == "now" for p in template.parse(value))
    )


def mistakes(expect: Expectation, unpredictable: frozenset[str]) -> list[str]:
    """Give the fields that a test expects and cannot know."""
    return [field for field in expect.event or () if field in unpredictable]


def compare(expect: Expectation, outcome: Outcome) -> Iterator[Difference]:
    """Yield what came out otherwise; what is not named is not compared."""
    wanted = "document" if expect.dead_letter is None else "dead letter"
    wanted = "dropped" if expect.dropped else wanted
    if wanted != kind_of(outcome):
        yield Difference("outcome", wanted, describe(outcome))
    elif isinstance(outcome, DeadLetter):
        for field, text in (expect.dead_letter or {}).items():
            got = getattr(outcome, field)
            if text not in got if field == "reason" else text != got:
                yield Difference(f"dead_letter.{field}", text, got)
    elif isinstance(outcome, Document):
        yield from compare_document(expect, outcome)


def compare_document(expect: Expectation, outcome: Document) -> Iterator[Difference]:
    """Yield what is otherwise in a document."""
    event: Event = orjson.loads(outcome.body)
    names = [alert.name for alert in outcome.alerts]
    for name, wanted, got in (
        ("index", expect.index, outcome.index),
        ("id", expect.id, outcome.id),
        ("alerts", expect.alerts, names),
        ("tags", expect.tags, event.get("tags", [])),
    ):
        if wanted is not None and wanted != got:
            yield Difference(name, wanted, got)
    for field, value in (expect.event or {}).items():
        yield from compare_value(f"event.{field}", value, find(event, path.parse(field)))
    for field in expect.absent:
        got = find(event, path.parse(field))
        if got is not ABSENT:
            yield Difference(f"event.{field}", ABSENT, got)


def compare_value(where: str, wanted: Any, got: Any) -> Iterator[Difference]:
    """Yield what is otherwise in a field; of an object only the named fields are compared."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        for key, value in wanted.items():
            yield from compare_value(f"{where}.{key}", value, got.get(key, ABSENT))
    elif not is_same(wanted, got):
        yield Difference(where, wanted, got)


def is_same(wanted: Any, got: Any) -> bool:
    """Say whether two JSON values are the same: 1 is 1.0, and neither is true."""
    if isinstance(wanted, list) and isinstance(got, list):
        return len(wanted) == len(got) and all(map(is_same, wanted, got))
    if isinstance(wanted, dict) and isinstance(got, dict):
        return wanted.keys() == got.keys() and all(is_same(wanted[key], got[key]) for key in wanted)
    return isinstance(wanted, bool) == isinstance(got, bool) and bool(wanted == got)


def find(event: Any, keys: tuple[str, ...]) -> Any:
    """Read a field; ABSENT where it is not there."""
    for key in keys:
        if not isinstance(event, dict) or key not in event:
            return ABSENT
        event = event[key]
    return event


def kind_of(outcome: Outcome) -> str:
    """Name what became of a record."""
    if isinstance(outcome, Document):
        return "document"
    return "dropped" if isinstance(outcome, Dropped) else "dead letter"


def describe(outcome: Outcome) -> str:
    """Say what became of a record, with the reason."""
    if isinstance(outcome, Document):
        return f"document in {outcome.index}"
    if isinstance(outcome, Dropped):
        return f"dropped at {outcome.stage}"
    return f"dead letter at {outcome.stage}: {outcome.error}: {outcome.reason}"
