"""How many requests a sink has under way."""

from __future__ import annotations

import asyncio

import pytest

from enricher.sinks.concurrency import Concurrency


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_no_more_than_the_bound_and_first_come_first_served() -> None:
    """Slots are handed over in order, and never more of them than the bound."""

    async def run() -> list[int]:
        slots = Concurrency(2)
        order: list[int] = []
        busy = 0

        async def work(number: int) -> None:
            nonlocal busy
            since = await slots.acquire()
            busy += 1
            assert busy <= 2
            order.append(number)
            await asyncio.sleep(0)
            busy -= 1
            slots.release(since, overloaded=False)

        await asyncio.gather(*(work(number) for number in range(20)))
        return order

    assert asyncio.run(run()) == list(range(20))


def test_halved_once_for_requests_that_failed_together_and_never_below_one() -> None:
    """Overload halves the bound, once a round; success brings it back, slowly."""

    async def run() -> None:
        clock = Clock()
        slots = Concurrency(8, clock=clock)
        together = [await slots.acquire() for _ in range(4)]
        clock.now = 1.0
        for since in together:
            slots.release(since, overloaded=True)
        assert slots.limit == 4
        for _ in range(5):
            clock.now += 1.0
            slots.release(await slots.acquire(), overloaded=True)
        assert slots.limit == 1
        for _ in range(100):
            slots.release(await slots.acquire(), overloaded=False)
        assert slots.limit == 8

    asyncio.run(run())


def test_slow_answer_counts_as_overload() -> None:
    """A server that takes long is asked less, before it has to refuse."""

    async def run() -> float:
        clock = Clock()
        slots = Concurrency(8, slow_s=10.0, clock=clock)
        since = await slots.acquire()
        clock.now = 11.0
        slots.release(since, overloaded=False)
        return slots.limit

    assert asyncio.run(run()) == 4


@pytest.mark.parametrize("handed_over", [False, True])
def test_cancelled_waiter_loses_no_slot(handed_over: bool) -> None:  # noqa: FBT001
    """A waiter that is cancelled, even as it is served, leaves its slot to the next."""

    async def run() -> None:
        slots = Concurrency(1)
        since = await slots.acquire()
        first, second = (asyncio.create_task(slots.acquire()) for _ in range(2))
        await asyncio.sleep(0)
        if handed_over:
            slots.release(since, overloaded=False)
            first.cancel()
        else:
            first.cancel()
            await asyncio.sleep(0)
            slots.release(since, overloaded=False)
        await asyncio.wait_for(second, 1)
        assert first.cancelled()

    asyncio.run(run())
