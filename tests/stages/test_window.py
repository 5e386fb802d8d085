"""Windows as a pipeline has them: what is a mistake, a failure, and what hostile events can do."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from enricher.model import ConfigError, DeadLetter, Document, Outcome, Record
from enricher.plan import Plan

from .running import plan_of

WINDOW = "window: {key: '{u}', fields: {n: {count: true, within: 1h}}}"
AT = "2025-10-20T10:00:00Z"
AT_MS = 1_760_954_400_000


def outcomes_of(plan: Plan, *events: object, timestamp: int | None = None) -> list[Outcome]:
    """Process events in one batch, as records 0, 1, … of a partition."""
    records = [
        Record(orjson.dumps(event), f"t-0-{number}", timestamp, "t/0", number)
        for number, event in enumerate(events)
    ]
    return asyncio.run(plan.process(records))


def run(plan: Plan, *events: object, timestamp: int | None = None) -> list[dict[str, Any]]:
    found = []
    for outcome in outcomes_of(plan, *events, timestamp=timestamp):
        assert isinstance(outcome, Document), outcome
        found.append(orjson.loads(outcome.body))
    return found


def event(second: int = 0, **fields: Any) -> dict[str, Any]:
    minutes, seconds = divmod(second, 60)
    time = f"2025-10-20T{10 + minutes // 60}:{minutes % 60:02}:{seconds:02}Z"
    return {"@timestamp": time, "u": "u1", **fields}


def test_events_are_counted_in_the_order_of_their_records() -> None:
    """Also those that have no key, do not meet the condition, or were dropped, in between."""
    plan = plan_of("drop: {when: x == 1}", WINDOW.replace("window: {", "window: {when: y != 1, "))
    found = outcomes_of(plan, event(), event(1, x=1), event(1, y=1), {"u": None}, event(2))
    counts = [orjson.loads(one.body).get("n") for one in found if isinstance(one, Document)]
    assert counts == [1, None, None, 2]


def test_a_record_read_again_is_no_second_event() -> None:
    """It is known by its own id, or by `event_id`, and gets its first answer."""
    plan = plan_of(WINDOW)
    first = run(plan, event(), event(1), event(2))
    assert run(plan, event(), event(1), event(2)) == first
    plan = plan_of(WINDOW.replace("fields", "event_id: '{id}', fields"))
    found = run(
        plan, event(0, id="a"), event(1, id="b"), event(2, id="a"), event(3), event(4, id="")
    )
    assert [one["n"] for one in found] == [1, 2, 1, 3, 4]


def test_the_sampled_way_through_a_plan_counts_once_too() -> None:
    """One delivery in so many goes stage by stage; it remembers the same."""
    plan = plan_of(WINDOW)

    async def both() -> list[Any]:
        found = []
        for number in range(6):
            record = Record(orjson.dumps(event(number)), f"t-0-{number}", None, "t/0", number)
            is_sampled = number % 2
            way = plan.process_timed([record], {}) if is_sampled else plan.process([record])
            (outcome,) = await way
            assert isinstance(outcome, Document)
            found.append(orjson.loads(outcome.body)["n"])
        return found

    assert asyncio.run(both()) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"@timestamp": None}, "@timestamp is missing: the event has no time"),
        ({"@timestamp": 5}, "@timestamp is a number: the event has no time"),
        ({"@timestamp": "yesterday"}, "@timestamp is no ISO 8601 time with an offset"),
        ({"@timestamp": "2025-10-20T10:00:00"}, "@timestamp is no ISO 8601 time with an offset"),
        ({"@timestamp": "1999-12-31T23:59:59Z"}, "from 2000 to 2100"),
        ({"@timestamp": "2101-01-01T00:00:00Z"}, "from 2000 to 2100"),
        ({"@timestamp": "2025-10-21T10:00:00.001Z"}, "too far ahead of the record's own time"),
        ({"u": "x" * 513}, "the key is longer than 512 bytes"),
        ({"u": "₹" * 171}, "the key is longer than 512 bytes"),
        ({"id": "x" * 257}, "the event's id is longer than 256 bytes"),
        ({"a": "5"}, "a is a text, not a number"),
        ({"a": True}, "a is a boolean, not a number"),
        ({"a": [1]}, "a is a list, not a number"),
        ({"c": "x" * 511}, "c is longer than 512 bytes"),
        ({"c": {"a": ["x" * 520]}}, "c is longer than 512 bytes"),
    ],
)
def test_what_does_not_fit_fails_alone(given: dict[str, Any], reason: str) -> None:
    """It is not counted; the events around it are."""
    plan = plan_of(
        "window: {key: '{u}', event_id: '{id}', fields: {n: {count: true, within: 1h}, "
        "s: {sum: a}, d: {distinct: c}}}"
    )
    before, wrong, after = run(plan, event(), event(1) | given, event(2), timestamp=AT_MS)
    assert reason in wrong["failures"]["window"]
    assert wrong["tags"] == ["_window_failure"]
    assert "n" not in wrong
    assert [one["n"] for one in (before, after)] == [1, 2]


def test_a_failure_may_be_a_dead_letter() -> None:
    plan = plan_of(WINDOW.replace("{key", "{on_error: dead_letter, key"))
    (letter,) = outcomes_of(plan, {"u": 1})
    assert isinstance(letter, DeadLetter)
    assert (letter.stage, letter.reason) == (
        "window",
        "@timestamp is missing: the event has no time",
    )


def test_what_comes_too_late_is_tagged_and_not_counted() -> None:
    """Its windows would lie in what is forgotten; as late as the retention allows is fine."""
    plan = plan_of(WINDOW.replace("fields", "retention: 2h, fields"))
    found = run(plan, event(3 * 3600), event(2 * 3600 + 1), event(2 * 3600), event(3 * 3600))
    assert [one.get("n") for one in found] == [1, 1, None, 3]
    assert found[2]["failures"]["window"].startswith("too late")


def test_numbers_that_cannot_be_written() -> None:
    """A sum beyond the largest number is none: the field is absent."""
    plan = plan_of("window: {key: '{u}', fields: {s: {sum: a}, m: {mean: a}}}")
    found = run(plan, event(0, a=1e308), event(1, a=1e308), event(2, a=-(2**63)), event(3))
    assert [one.get("s") for one in found] == [1e308, None, None, None]
    found = run(plan, *[event(n, u="other", a=0.1) for n in range(10)])
    assert found[-1]["s"] == sum([0.1] * 10)
    assert found[-1]["m"] == sum([0.1] * 10) / 10
    assert run(plan, event(0, u="third", a=2), event(1, u="third", a=3))[1]["s"] == 5


def test_values_keep_their_kind() -> None:
    """True is not 1, and an object is what it holds, not how it is written."""
    plan = plan_of("window: {key: '{u}', fields: {d: {distinct: c}, p: {previous: c}}}")
    values = [1, True, 1.0, "1", None, {"a": 1, "b": 2}, {"b": 2, "a": 1}, [None], False, ""]
    found = run(plan, *[event(n, c=value) for n, value in enumerate(values)])
    assert [one["d"] for one in found] == [1, 2, 3, 4, 4, 5, 5, 6, 7, 8]
    assert [one.get("p") for one in found[1:]] == [1, True, 1.0, "1", "1", *values[5:9]]


def test_a_field_may_be_within_another() -> None:
    plan = plan_of("window: {key: '{u.id}', fields: {u.n: {count: true}, a.b.c: {count: true}}}")
    one, other = run(plan, event(u={"id": 7}), event(1, u={"id": 7}, a="text"))
    assert (one["u"], one["a"]) == ({"id": 7, "n": 1}, {"b": {"c": 1}})
    assert other["failures"]["window"] == "a is no object"


def test_a_hot_key_costs_bounded_memory() -> None:
    plan = plan_of(WINDOW.replace("fields", "max_events: 10, fields"))
    found = run(plan, *[event(n) for n in range(1000)])
    assert [one["n"] for one in found] == [*range(1, 10), *[10] * 991]
    (step,) = (one for one in plan.steps if one.name == "window")
    states: Any = step.function
    (keys,) = states.asking.states._stages.values()
    (history,) = keys.young.values()
    assert len(history.times) == len(history.answers) == 10


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("key: '{u}', fields: {}", "fields: "),
        ("key: 'user', fields: {n: {count: true}}", 'key: "user" has no field'),
        ("key: '{$pipeline}', fields: {n: {count: true}}", "has no field"),
        ("key: '{u}', event_id: 'x', fields: {n: {count: true}}", 'event_id: "x" has no field'),
        ("key: '{u}', fields: {n: {}}", "write one of count, sum, mean, distinct, previous"),
        ("key: '{u}', fields: {n: {count: true, sum: a}}", "write one of count"),
        ("key: '{u}', fields: {n: {count: true, within: 1 hour}}", '"1 hour" is no span of time'),
        ("key: '{u}', fields: {n: {count: true, within: 0m}}", '"0m" is no span of time'),
        ("key: '{u}', fields: {n: {count: true, within: 1d}}", "retention: 1d must be longer"),
        ("key: '{u}', fields: {n: {count: true, last: 5}}", "last: a count has no field"),
        ("key: '{u}', fields: {n: {mean: a, last: 5, at_least: 6}}", "at_least: there are never"),
        ("key: '{u}', max_events: 5, fields: {n: {mean: a, last: 6}}", "max_events: n needs 6"),
        ("key: '{u}', fields: {n: {previous: a, before: true}}", "previous: it is one value"),
        ("key: '{u}', fields: {n: {summ: a}}", 'unknown field "summ" (did you mean "sum"?)'),
    ],
)
def test_mistakes(fields: str, problem: str) -> None:
    """With their place, and what to do."""
    with pytest.raises(ConfigError) as caught:
        plan_of(f"window: {{{fields}}}")
    assert problem in str(caught.value)
    assert "stages[1].window" in str(caught.value)


def test_two_that_remember_have_two_names() -> None:
    """State is kept by the name of the stage."""
    with pytest.raises(ConfigError, match='the name "window" is taken; give this one another'):
        plan_of(WINDOW, WINDOW)
    found = run(
        plan_of(WINDOW, WINDOW.replace("{key", "{name: other, key").replace("{n:", "{m:")), event()
    )
    assert (found[0]["n"], found[0]["m"]) == (1, 1)
