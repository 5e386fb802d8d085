"""What is sent to us waits for the runtime, within a bound, and is acknowledged once."""

from __future__ import annotations

import asyncio

from enricher.model import Record
from enricher.sources.inbox import Inbox


def record(number: int) -> Record:
    return Record(b"{}", f"id-{number}", 0, "test", number)


async def test_a_full_inbox_has_room_again_once_records_are_settled() -> None:
    """Room is counted in bytes; into an empty one a record of any size fits."""
    inbox = Inbox(100)
    assert inbox.has_room(1000)
    first = inbox.put([record(1)], 60)
    assert inbox.has_room(40)
    assert not inbox.has_room(41)
    deliveries = inbox.deliveries()
    delivery = await anext(deliveries)
    assert (delivery.records, delivery.size) == ([record(1)], 2)
    assert not inbox.has_room(41)
    assert not first.done()
    await delivery.acknowledge()
    await first
    assert inbox.has_room(100)


async def test_stopping_takes_no_more_and_yields_what_is_left() -> None:
    """What was taken is settled; what comes later is refused, and never acknowledged."""
    inbox = Inbox(100)
    taken = [inbox.put([record(number)], 1) for number in range(3)]
    inbox.stop()
    late = inbox.put([record(9)], 1)
    assert late.cancelled()
    assert not inbox.has_room(0)
    numbers = []
    async for delivery in inbox.deliveries():
        numbers += [one.position for one in delivery.records]
        await delivery.acknowledge()
    assert numbers == [0, 1, 2]
    await asyncio.gather(*taken)
    assert inbox.used == 0


async def test_one_who_waits_is_woken_by_what_arrives() -> None:
    """The runtime waits in the iterator; handing in ends the wait."""
    inbox = Inbox(100)
    deliveries = inbox.deliveries()
    waiting = asyncio.ensure_future(anext(deliveries))
    await asyncio.sleep(0)
    assert not waiting.done()
    inbox.put([record(1)], 1).cancel()  # whoever sent it is gone; it is settled all the same
    delivery = await waiting
    await delivery.acknowledge()
    assert inbox.used == 0
