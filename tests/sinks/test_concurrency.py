"""How many requests a sink has under way."""

from __future__ import annotations

from enricher.sinks.concurrency import Concurrency


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_no_more_than_the_bound() -> None:
    """Whoever asks first finds it free; it is free again once one has ended."""
    slots = Concurrency(2)
    since = [slots.begin(), slots.begin()]
    assert not slots.is_free
    slots.end(since[0], overloaded=False)
    assert slots.is_free


def test_halved_once_for_requests_that_failed_together_and_never_below_one() -> None:
    """Overload halves the bound, once a round; success brings it back, slowly."""
    clock = Clock()
    slots = Concurrency(8, clock=clock)
    together = [slots.begin() for _ in range(4)]
    clock.now = 1.0
    for since in together:
        slots.end(since, overloaded=True)
    assert slots.limit == 4
    for _ in range(5):
        clock.now += 1.0
        slots.end(slots.begin(), overloaded=True)
    assert slots.limit == 1
    for _ in range(100):
        slots.end(slots.begin(), overloaded=False)
    assert slots.limit == 8


def test_slow_answer_counts_as_overload() -> None:
    """A server that takes long is asked less, before it has to refuse."""
    clock = Clock()
    slots = Concurrency(8, slow_s=10.0, clock=clock)
    since = slots.begin()
    clock.now = 11.0
    slots.end(since, overloaded=False)
    assert slots.limit == 4
