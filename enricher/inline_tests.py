"""Run the tests that stand in a pipeline file: the same plan, no network, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from enricher import path, template
from enricher.build import build
from enricher.config import PipelineConfig
from enricher.expectation import Expectation, ExpectedOutput
from enricher.given import BadStep, Given, as_bytes, clock_of, given
from enricher.lookups.store import Answer
from enricher.model import (
    ConfigError,
    DeadLetter,
    Document,
    Dropped,
    Event,
    Outcome,
    Output,
    Problem,
)
from enricher.plan import Plan
from enricher.stages.set import Set
from enricher.state import MemoryStates

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
    lookups, states = TestLookups(), MemoryStates()
    plan = build(config, lookups, states)
    prepared = prepare(config, plan)
    results = []
    for number, (test, events) in enumerate(zip(config.pipeline.tests, prepared, strict=True)):
        if not chosen(test.name):
            continue
        lookups.values = test.lookups
        states.clear()
        outcomes = await plan.process([one.record for one in events])
        place = config.document.problem(("tests", number), "")
        differences = tuple(
            difference._replace(path=f"{one.name}{difference.path}")
            for one, outcome in zip(events, outcomes, strict=True)
            for expect in one.expects
            for difference in compare(expect, outcome)
        )
        results.append(Result(test.name, f"{place.file}:{place.line}", differences))
    return results


def prepare(config: PipelineConfig, plan: Plan) -> list[list[Given]]:
    """Make the records of every test. Raises ConfigError with each mistake in the tests."""
    problems: list[Problem] = []
    prepared = []
    clock = clock_of(config, plan)
    unpredictable = times_of_processing(config)
    for number, test in enumerate(config.pipeline.tests):
        place: tuple[str | int, ...] = ("tests", number)
        expected = [((*place, "expect"), test.expect)]
        expected += [
            ((*place, "sequence", at, "expect"), step.expect)
            for at, step in enumerate(test.sequence)
        ]
        for where, expect in expected:
            found = mistakes(expect, unpredictable) if expect else ()
            problems += [config.document.problem((*where, *at), text) for at, text in found]
        try:
            prepared.append(given(test, clock))
        except BadStep as error:
            problems.append(config.document.problem((*place, *error.where), str(error)))
    if problems:
        raise ConfigError(problems)
    return prepared


def times_of_processing(config: PipelineConfig) -> frozenset[str]:
    """Give the fields that hold `{$now}`."""
    return frozenset(
        field
        for stage in config.stages
        if isinstance(stage, Set)
        for field, value in stage.fields.items()
        if isinstance(value, str) and any(p.builtin == "now" for p in template.parse(value))
    )


def mistakes(
    expect: Expectation, unpredictable: frozenset[str]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what a test expects and cannot know, or what cannot be: where, and why."""
    for field in expect.event or ():
        if field in unpredictable:
            yield ("event", field), f"{field} is the time of processing: no test can expect it"
    for field in (*(expect.event or ()), *expect.absent):
        try:
            path.parse(field)
        except ValueError as error:
            yield (), str(error)
    for field in set(expect.dead_letter or ()) - set(_LETTER_FIELDS):
        message = f'unknown field "{field}": there are {", ".join(_LETTER_FIELDS)}'
        yield ("dead_letter",), message


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
    if expect.outputs is not None:
        yield from compare_outputs(expect.outputs, outcome.outputs)
    for field, value in (expect.event or {}).items():
        yield from compare_value(f"event.{field}", value, find(event, path.parse(field)))
    for field in expect.absent:
        got = find(event, path.parse(field))
        if got is not ABSENT:
            yield Difference(f"event.{field}", ABSENT, got)


def compare_outputs(
    expected: Sequence[str | ExpectedOutput], got: Sequence[Output]
) -> Iterator[Difference]:
    """Yield what is otherwise in the outputs of a record."""
    wanted = [ExpectedOutput(name=one) if isinstance(one, str) else one for one in expected]
    names, found = [one.name for one in wanted], [output.to.name for output in got]
    if names != found:
        yield Difference("outputs", names, found)
        return
    for one, output in zip(wanted, got, strict=True):
        where = f"outputs.{one.name}"
        if one.key not in (None, output.key):
            yield Difference(f"{where}.key", one.key, output.key)
        yield from compare_value(f"{where}.body", one.body or {}, orjson.loads(output.body))


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
