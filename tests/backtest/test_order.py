"""History is put in order within a bound, and held in memory no further than that."""

from __future__ import annotations

import random
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.backtest.order import BATCH, Entry, Reorder, merged
from enricher.model import Record


def entry(moment: int, name: object = "", size: int = 1) -> Entry:
    return Entry(moment, Record(b"x" * size, str(name), moment, "f", 0), None)


def ordered(order: Reorder, entries: list[Entry], batch: int = 7) -> list[Entry]:
    parts = [order.add(entries[at : at + batch]) for at in range(0, len(entries), batch)]
    return [*chain.from_iterable(parts), *order.rest()]


@given(
    st.lists(st.integers(0, 10_000), max_size=300),
    st.integers(0, 500),
    st.integers(1, 80),
    st.data(),
)
def test_what_is_late_by_less_than_the_bound_is_in_order(
    moments: list[int], lateness: int, batch: int, data: st.DataObject
) -> None:
    """Whoever writes each record by so much later than its time gets order back, ties as written."""
    delays = [data.draw(st.integers(0, lateness)) for _ in moments]
    written = sorted(zip(moments, delays, strict=True), key=lambda one: one[0] + one[1])
    entries = [entry(moment, number) for number, (moment, _) in enumerate(written)]
    order = Reorder(lateness)
    done = ordered(order, entries, batch)
    assert done == sorted(entries, key=lambda one: one.moment)
    assert order.late == 0


@given(st.lists(st.integers(-1000, 1000), max_size=300), st.integers(0, 100))
def test_nothing_is_lost_however_late_it_comes(moments: list[int], lateness: int) -> None:
    entries = [entry(moment, number) for number, moment in enumerate(moments)]
    done = ordered(Reorder(lateness), entries)
    assert sorted(done, key=lambda one: int(one.record.id)) == entries


def test_what_comes_too_late_is_counted_and_goes_on_at_once() -> None:
    order = Reorder(100)
    assert order.add([entry(1_000), entry(1_200)]) == [entry(1_000)]
    assert order.add([entry(900), entry(1_150)]) == [entry(900)]
    assert order.late == 1
    assert order.rest() == [entry(1_150), entry(1_200)]


def test_a_clock_that_is_wrong_makes_nobody_else_late() -> None:
    """A few records of a far future wait for the end; the others stay in order."""
    shuffled = random.Random(1)
    entries = [entry(n * 10 + shuffled.randrange(500)) for n in range(20_000)]
    wrong = [entry(10**12 + n) for n in range(20)]
    for number, one in enumerate(wrong):
        entries.insert(number * 1_000 + 500, one)
    order = Reorder(1_000)
    done = ordered(order, entries, 1_000)
    assert order.late == 0
    assert done == sorted(entries, key=lambda one: one.moment)


def test_no_more_bytes_wait_than_may() -> None:
    """Where much happens at one time the earliest go on before their time is over."""
    order = Reorder(10**9, most_held=10_000)
    held = 0
    for at in range(0, 5_000, 50):
        ready = order.add([entry(at + n, size=100) for n in range(50)])
        held += 50 - len(ready)
        assert held <= 100
    assert order.late == 0


def test_files_are_read_side_by_side() -> None:
    """Two partitions of one time come out as one history, in batches."""
    even = [[entry(n) for n in range(at, at + 500, 2)] for at in range(0, 3_000, 500)]
    odd = [[entry(n) for n in range(at + 1, at + 500, 2)] for at in range(0, 3_000, 500)]
    batches = list(merged([iter(even), iter(odd)]))
    assert [one.moment for one in chain.from_iterable(batches)] == list(range(3_000))
    *full, last = map(len, batches)
    assert set(full) == {BATCH}
    assert last <= BATCH


@pytest.mark.parametrize("streams", [[[]], [[], []], [[[]], [[entry(1)]]]])
def test_files_may_be_empty(streams: list[list[list[Entry]]]) -> None:
    found = list(chain.from_iterable(merged([iter(stream) for stream in streams])))
    assert found == list(chain.from_iterable(chain.from_iterable(streams)))
