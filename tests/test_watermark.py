"""The watermark commits what is settled without a gap, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.watermark import Watermark


@st.composite
def _histories(draw: st.DrawFn) -> list[tuple[str, object]]:
    """Make deliveries with gaps between and inside them, mixed with completions in any order."""
    steps: list[tuple[str, object]] = []
    offset = draw(st.integers(0, 5))
    for number in range(draw(st.integers(1, 12))):
        offsets = []
        for _ in range(draw(st.integers(1, 4))):
            offset += draw(st.integers(0, 3))
            offsets.append(offset)
            offset += 1
        steps.append(("deliver", offsets))
        for span in draw(st.lists(st.integers(0, number), max_size=4)):
            steps.append(("settle", span))
    return steps


@given(_histories())
def test_agrees_with_a_model_that_looks_at_every_offset(steps: list[tuple[str, object]]) -> None:
    """The position is one more than the last offset before the first unsettled one."""
    mark = Watermark()
    spans = []
    delivered: list[list[int]] = []
    settled: set[int] = set()
    for kind, what in steps:
        if kind == "deliver":
            assert isinstance(what, list)
            spans.append(mark.deliver(what[0], what[-1], len(what), 10 * len(what)))
            delivered.append(what)
        else:
            assert isinstance(what, int)
            mark.settle(spans[what])
            settled.update(delivered[what])
        offsets = [offset for span in delivered for offset in span]
        position = None
        for offset in offsets:
            if offset not in settled:
                break
            position = offset + 1
        waiting = [offset for offset in offsets if offset >= (position or 0)]
        # A span that is settled in part counts as a whole only in this model of single offsets.
        assert mark.position == position
        assert mark.next == offsets[-1] + 1
        assert mark.records == len(waiting)
        assert mark.size == 10 * len(waiting)
        assert mark.unsettled == (waiting[0] if waiting else mark.next)
        assert mark.outstanding == sum(span[0] not in settled for span in delivered)


def test_knows_no_position_before_anything_is_settled() -> None:
    """There is nothing to commit for what was only delivered."""
    mark = Watermark()
    assert (mark.position, mark.next, mark.unsettled) == (None, None, None)
    mark.deliver(7, 9, 3)
    assert (mark.position, mark.next, mark.unsettled) == (None, 10, 7)


def test_a_refused_delivery_holds_back_those_after_it() -> None:
    """A later delivery that is settled does not carry an earlier one past the commit."""
    mark = Watermark()
    refused = mark.deliver(0, 9, 10)
    mark.settle(mark.deliver(10, 19, 10))
    assert mark.position is None
    mark.settle(refused)
    assert mark.position == 20


def test_settling_twice_changes_nothing() -> None:
    """An acknowledgement that comes twice is counted once."""
    mark = Watermark()
    span = mark.deliver(0, 0)
    mark.settle(span)
    mark.settle(span)
    assert (mark.position, mark.outstanding, mark.records) == (1, 0, 0)


@pytest.mark.parametrize(("first", "last"), [(4, 6), (9, 8)])
def test_refuses_offsets_that_do_not_follow(first: int, last: int) -> None:
    """Offsets that go backwards belong to another assignment or another log."""
    mark = Watermark()
    mark.deliver(0, 5)
    with pytest.raises(ValueError, match="do not follow"):
        mark.deliver(first, last)
