"""What is sent to us waits for the runtime, within a bound, and is acknowledged once."""

from __future__ import annotations

import asyncio

from enricher.model import Delivery, Record
from enricher.sources.inbox import EAGER, MOST_BYTES, MOST_RECORDS, Inbox, weight


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


def numbers(delivery: Delivery) -> list[int]:
    return [one.position for one in delivery.records]


async def test_what_is_too_much_for_a_delivery_becomes_several() -> None:
    """By records and by bytes; it is settled with the last of them, in whatever order."""
    inbox = Inbox(1)
    many = [record(number) for number in range(2 * MOST_RECORDS + 1)]
    large = [record(number)._replace(value=bytes(MOST_BYTES // 2)) for number in range(3)]
    for records, sizes in ((many, [MOST_RECORDS, MOST_RECORDS, 1]), (large, [2, 1])):
        settled = inbox.put(records, 77)
        deliveries = inbox.deliveries()
        found = [await anext(deliveries) for _ in sizes]
        assert [len(delivery.records) for delivery in found] == sizes
        assert [one for delivery in found for one in delivery.records] == records
        assert [d.size for d in found] == [sum(len(r.value) for r in d.records) for d in found]
        for delivery in reversed(found):
            assert (settled.done(), inbox.used) == (False, 77)
            await delivery.acknowledge()
        await settled
        assert inbox.used == 0


async def test_while_some_are_under_way_small_ones_are_gathered() -> None:
    """The first go at once, each alone; then those that wait go together, when one is settled."""
    inbox = Inbox(1)
    deliveries = inbox.deliveries()
    under_way = []
    for number in range(EAGER):
        inbox.put([record(number)], 1)
        under_way.append(await anext(deliveries))
    assert [numbers(delivery) for delivery in under_way] == [[n] for n in range(EAGER)]
    later = [inbox.put([record(number)], 1) for number in range(100, 103)]
    waiting = asyncio.ensure_future(anext(deliveries))
    await asyncio.sleep(0)
    assert not waiting.done()
    await under_way[3].acknowledge()
    together = await waiting
    assert numbers(together) == [100, 101, 102]
    await together.acknowledge()
    await asyncio.gather(*later)


async def test_a_full_delivery_waits_for_nobody() -> None:
    """However many are under way, and whoever handed its records in."""
    inbox = Inbox(1)
    deliveries = inbox.deliveries()
    for number in range(EAGER):
        inbox.put([record(number)], 1)
        await anext(deliveries)
    inbox.put([record(0)], 1)
    inbox.put([record(number) for number in range(1, MOST_RECORDS)], 1)
    assert numbers(await anext(deliveries)) == list(range(MOST_RECORDS))
    inbox.put([record(0)._replace(value=bytes(3 * MOST_BYTES)), record(1)], 1)
    assert numbers(await anext(deliveries)) == [0]


async def test_closing_tells_those_who_wait() -> None:
    """What is settled after all harms nobody; room that is held is given back as ever."""
    inbox = Inbox(100)
    inbox.hold(30)
    settled = inbox.put([record(1), record(2)], 10)
    deliveries = inbox.deliveries()
    delivery = await anext(deliveries)
    assert inbox.used == 40
    inbox.close()
    assert settled.cancelled()
    await delivery.acknowledge()
    inbox.free(30)
    assert inbox.used == 0
    assert [one async for one in deliveries] == []


def test_small_records_weigh_more_than_their_bytes() -> None:
    assert weight([record(0)] * 1000) > 100 * len(b"{}" * 1000)
