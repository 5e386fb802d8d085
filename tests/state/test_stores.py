"""Redis, memory and the naive model give the same answers, whatever comes in whatever order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import Redis

from enricher.connections import RedisConnection
from enricher.lookups.redis import RedisLookups
from enricher.state import MemoryStates, States
from enricher.state.redis import RedisStates
from enricher.state.spec import Measure, Sighting, Spec

from .naive import Naive

COLUMNS = ("number:amount", "json:place", "json:card")
NUMBERS = st.one_of(
    st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-5, 5).map(float)
)
TEXTS = st.one_of(
    st.none(), st.sampled_from(['"a"', '"₹"', '{"lat":1.5,"lon":2}', "false", "1", '""'])
)
SPANS = st.one_of(st.none(), st.integers(1, 40))


@st.composite
def measures(draw: st.DrawFn) -> Measure:
    kind: Any = draw(st.sampled_from(["count", "sum", "mean", "distinct", "previous"]))
    of = {"sum": ["number:amount"], "mean": ["number:amount"]}.get(kind, ["json:place"])
    of = [] if kind == "count" else of
    of += draw(st.sampled_from([[], ["json:card"]]))
    last = draw(st.one_of(st.none(), st.integers(1, 5))) if of else None
    is_previous = kind == "previous"
    return Measure(
        target=kind,
        kind=kind,
        of=tuple(of),
        within_us=draw(SPANS),
        last=1 if is_previous else last,
        at_least=0 if is_previous else draw(st.integers(1 if kind == "mean" else 0, 4)),
        before=is_previous or draw(st.booleans()),
    )


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    wanted = draw(st.lists(measures(), min_size=1, max_size=5, unique_by=lambda one: one.target))
    longest = max(one.within_us or 0 for one in wanted)
    return Spec(
        name="p:w",
        measures=tuple(wanted),
        columns=COLUMNS,
        retention_us=longest + draw(st.integers(1, 60)),
        max_events=draw(st.one_of(st.integers(1, 12), st.just(100))),
        outage_us=3_600_000_000,
    )


EVENTS = st.lists(
    st.builds(
        Sighting,
        key=st.sampled_from(["k", "k", "k", "₹ {x}", ""]),
        id=st.sampled_from([*"abcdefghijklmnopqrstuvwxyz", "é", "z\x00", "Z", "₹"]),
        time_us=st.integers(1, 90),
        values=st.tuples(NUMBERS, TEXTS, TEXTS),
    ),
    max_size=60,
)
"""Times and ids are few: ties, events seen again (also under another time), and late ones."""


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(spec=specs(), events=EVENTS, size=st.integers(1, 60), piece=st.integers(1, 5))
@example(
    # A late event goes behind a first piece of which all is forgotten.
    spec=Spec("p:w", (Measure("count", "count"),), COLUMNS, 100, 1000),
    events=[
        Sighting("k", str(number), time, (None, None, None))
        for number, time in enumerate((10, 20, 30, 15, 25, 127, 35, 28, 129))
    ],
    size=60,
    piece=3,
)
def test_all_stores_give_the_same_answers(
    valkey: Any, spec: Spec, events: list[Sighting], size: int, piece: int
) -> None:
    """In batches of any size; the last of them is sent twice, as after a time-out."""
    batches = [events[at : at + size] for at in range(0, len(events), size)]
    batches += batches[-1:]
    naive = Naive()
    wanted = [repr([naive.see(spec, one) for one in batch]) for batch in batches]

    async def answers(states: States) -> list[str]:
        return [repr(await states.see(spec, batch)) for batch in batches]

    assert asyncio.run(answers(MemoryStates())) == wanted
    assert asyncio.run(of_redis(valkey.url, answers, piece)) == wanted


async def of_redis(
    url: Any, answers: Callable[[States], Awaitable[list[str]]], piece: int
) -> list[str]:
    """Give the answers of an empty server."""
    with Redis.from_url(url) as client:
        client.flushdb()
    lookups = RedisLookups(RedisConnection(url=url))
    try:
        return await answers(RedisStates(lookups, piece))
    finally:
        await lookups.close()


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(spec=specs(), events=EVENTS, cut=st.integers(0, 60), data=st.data())
def test_other_columns_are_kept_from_a_reload_on(
    valkey: Any, spec: Spec, events: list[Sighting], cut: int, data: st.DataObject
) -> None:
    """What was not kept of an event is not known of it; the rest is not moved."""
    needed = {column for measure in spec.measures for column in measure.of}

    def columns() -> tuple[str, ...]:
        order = data.draw(st.permutations([*COLUMNS, "json:other"]))
        return tuple(one for one in order if one in needed or data.draw(st.booleans()))

    batches = []
    for part, now in ((events[:cut], columns()), (events[cut:], columns())):
        values = [dict(zip(COLUMNS, one.values, strict=True)) for one in part]
        seen = [
            one._replace(values=tuple(value.get(name) for name in now))
            for one, value in zip(part, values, strict=True)
        ]
        batches.append((spec._replace(columns=now), seen))

    async def answers(states: States) -> list[str]:
        return [repr(await states.see(*batch)) for batch in batches]

    assert asyncio.run(of_redis(valkey.url, answers, 2)) == asyncio.run(answers(MemoryStates()))
