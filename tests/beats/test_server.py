"""What is sent is acknowledged once it is durable, and only then."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from enricher.model import UserError

from . import wire
from .running import Running, Sender, running, sending, until
from .wire import ack

KIB, MIB = 1 << 10, 1 << 20
SOON = 0.2
"""Seconds of keep-alives in these tests; a second of silence would be too long for them."""


async def silent(sender: Sender, seconds: float = 0.3) -> bool:
    """Say whether nothing comes for a while."""
    try:
        async with asyncio.timeout(seconds):
            return not await sender.reader.readexactly(1)
    except TimeoutError:
        return True


async def test_a_window_is_acknowledged_once_all_of_it_is_durable() -> None:
    """Deliveries of one window are settled in any order; the ACK waits for the last."""
    async with running() as run, sending(run) as sender:
        await sender.send(wire.window(2500))
        for begin in (0, 1000, 2000):
            values = [b'{"n":%d}' % number for number in range(begin, min(begin + 1000, 2500))]
            frames = [wire.event(number + 1, one) for number, one in enumerate(values, begin)]
            await sender.send(b"".join(frames))
            await run.taken(begin + len(values))
        assert run.values() == [b'{"n":%d}' % number for number in range(2500)]
        count = len(run.deliveries)
        assert count >= 3
        await run.settle(*range(1, count))
        assert await silent(sender)
        assert run.counts.held_bytes > 0
        await run.settle(0)
        assert await sender.ack() == ack(2500)
        assert run.counts.held_bytes == 0
        assert (run.counts.windows, run.counts.received_records, run.counts.acks) == (1, 2500, 1)


async def test_windows_are_acknowledged_in_order_by_their_last_number() -> None:
    """Several are sent ahead; their numbers go on, as one client counts, or begin anew."""
    async with running() as run, sending(run) as sender:
        await sender.send(wire.batch([b"1", b"2"], first=41))
        await run.taken(2)
        await sender.send(wire.batch([b"3"], first=1, compress=True))
        await sender.send(wire.window(1, b"1") + wire.data(9, {b"line": b"x"}, b"1"))
        await run.taken(4)
        assert len(run.deliveries) >= 2
        await run.settle(*range(1, len(run.deliveries)))
        assert await silent(sender)
        await run.settle(0)
        assert [await sender.ack() for _ in range(3)] == [ack(42), ack(1), ack(9, b"1")]


async def test_a_sender_that_waits_is_told_that_we_live() -> None:
    """With 0 while nothing of its window is durable, then with how much is."""
    async with running(keepalive_s=SOON) as run, sending(run) as sender:
        await sender.send(wire.window(3) + wire.event(1, b"1"))
        await run.taken(1)
        assert await sender.ack() == ack(0)
        await sender.send(wire.event(2, b"2"))
        await run.taken(2)
        await run.settle(0)
        while (said := await sender.ack()) == ack(0):
            pass
        assert said == ack(1)
        await sender.send(wire.event(3, b"3"))
        await run.taken(3)
        await run.settle(*range(1, len(run.deliveries)))
        while (said := await sender.ack()) != ack(3):
            assert said == ack(1)
        assert run.counts.keepalives >= 2
        assert await silent(sender, 3 * SOON)  # nothing is owed any more


async def test_a_full_source_reads_nothing_and_keeps_its_senders() -> None:
    """Room is bounded whatever they send; keep-alives go on; all of it arrives once there is room."""
    value = b'"' + b"x" * (16 * KIB) + b'"'
    window = wire.batch([value] * 16)
    async with running(keepalive_s=SOON, max_bytes=MIB) as run, AsyncExitStack() as stack:
        senders = [await stack.enter_async_context(sending(run)) for _ in range(6)]
        writing = [asyncio.create_task(sender.send(window * 16)) for sender in senders]
        await until(lambda: run.source.is_shut, "shut")
        for sender in senders:
            assert await sender.ack() == ack(0)
        assert sum(delivery.size for delivery in run.deliveries) <= MIB + 300 * KIB  # one take more
        assert not any(task.done() for task in writing)
        settled = 0
        while settled < len(senders) * 16 * 16:
            await until(lambda: run.deliveries, "anything")
            delivery = run.deliveries.pop(0)
            settled += len(delivery.records)
            await delivery.acknowledge()
        for sender in senders:
            acks = [await sender.ack() for _ in range(16)]
            while acks.count(ack(16)) < 16:
                acks.append(await sender.ack())
        await asyncio.gather(*writing)
        assert not run.source.is_shut


async def test_one_that_comes_while_all_is_full_is_not_read_either() -> None:
    async with running(keepalive_s=SOON, max_bytes=KIB) as run, sending(run) as sender:
        await sender.send(wire.batch([b"1"] * 10))
        await run.taken(10)
        before = run.counts.received_bytes
        async with sending(run) as late:
            writing = asyncio.create_task(late.send(wire.batch([b'"late"'] * 10) * 10_000))
            assert await late.ack() == ack(0)
            assert run.counts.received_bytes - before <= 256 * KIB
            writing.cancel()


async def test_one_connection_has_a_share_and_no_more() -> None:
    """While one sends without end and nothing is settled, another still gets through."""
    value = b'"' + b"x" * (16 * KIB) + b'"'
    async with running(keepalive_s=SOON, max_bytes=4 * MIB) as run:
        async with sending(run) as greedy, sending(run) as modest:
            flood = asyncio.create_task(greedy.send(wire.batch([value] * 16) * 64))
            await run.taken(MIB // (17 * KIB))
            assert await greedy.ack() == ack(0)
            assert not run.source.is_shut
            await modest.send(wire.batch([b'{"modest":1}']))
            await until(lambda: b'{"modest":1}' in run.values(), "served")
            assert sum(delivery.size for delivery in run.deliveries) < 2 * MIB
            flood.cancel()


async def test_ids_are_those_of_the_sender_behind_the_name_of_the_source() -> None:
    """Without one a record gets one of its own, new each time."""
    events = [{"@metadata": {"_id": "a-1"}}, {"n": 1}, {"@metadata": {"_id": 7}}, {"n": 1}]
    async with running(name="shop") as run, sending(run) as sender:
        before_ms = time.time_ns() // 1_000_000
        await sender.send(wire.batch(events))
        await run.taken(4)
        records = [record for delivery in run.deliveries for record in delivery.records]
        assert (records[0].id, records[2].id) == ("shop@a-1", "shop@7")
        own = {records[1].id, records[3].id}
        assert len(own) == 2
        assert all(one.startswith("shop@") and len(one) < 64 for one in own)
        assert {record.stream for record in records} == {"shop/127.0.0.1"}
        assert [record.position for record in records] == [1, 2, 3, 4]
        for record in records:
            assert record.timestamp is not None
            assert before_ms <= record.timestamp <= time.time_ns() // 1_000_000


async def test_stopping_takes_nothing_more_and_acknowledges_what_is_durable() -> None:
    """Who is owed nothing is let go at once, who waits gets its ACK, nobody is let in."""
    async with running() as run, sending(run) as idle, sending(run) as waiting:
        await idle.send(wire.batch([b"1"]))
        await run.taken(1)
        await run.settle()
        assert await idle.ack() == ack(1)
        await waiting.send(wire.batch([b"2", b"3"]) + wire.window(2) + wire.event(1, b"4"))
        await run.taken(4)
        run.source.stop()
        assert await idle.ack() == b""
        await waiting.send(wire.event(2, b"5"))
        await run.settle()
        assert await waiting.ack() == ack(2)
        assert await waiting.ack() == b""
        await until(lambda: run.ended, "ended")
        assert run.values() == [b"1", b"2", b"3", b"4"]
        with pytest.raises(OSError):
            await asyncio.open_connection(wire.HOST, run.port)


async def test_what_is_not_durable_at_the_end_is_not_acknowledged() -> None:
    async with running() as run, sending(run) as sender:
        await sender.send(wire.batch([b"1"]))
        await run.taken(1)
        run.source.stop()
        await run.source.close()
        assert await sender.ack() == b""


async def test_a_sender_that_is_done_sending_still_gets_its_acks() -> None:
    """It closed its half of the connection, as a script does at its end."""
    async with running() as run, sending(run) as sender:
        await sender.send(wire.batch([b"1"]))
        sender.writer.write_eof()
        await run.taken(1)
        await run.settle()
        assert await sender.ack() == ack(1)
        assert await sender.ack() == b""


async def test_what_a_lost_connection_sent_is_settled_and_frees_its_room() -> None:
    async with running(max_bytes=KIB, keepalive_s=SOON) as run:
        async with sending(run) as sender:
            await sender.send(wire.batch([b"1"] * 10))
            await run.taken(10)
        await until(lambda: not run.counts.connections, "gone")
        assert run.source.is_shut
        async with sending(run) as other:
            await other.send(wire.batch([b'"next"']))
            await run.settle()
            await until(lambda: b'"next"' in run.values(), "served")


async def test_workers_share_a_port_and_others_do_not() -> None:
    async with running(worker=1) as one:
        listen = f"127.0.0.1:{one.port}"
        async with running(worker=2, listen=listen) as other:
            assert other.port == one.port
        with pytest.raises(UserError, match=f"source beats: listen: {listen}: is in use"):
            async with running(listen=listen):
                pass


async def test_a_source_that_was_stopped_before_it_began_listens_to_nobody() -> None:
    async with running() as run:
        port = run.port
    source = Running(run.source)
    await source.read()
    with pytest.raises(OSError):
        await asyncio.open_connection(wire.HOST, port)


async def test_open_to_the_network_without_tls_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    async with running() as run:
        assert run.counts.open_without_tls == 0
    assert "without TLS" not in capsys.readouterr().out
    async with running(listen="0.0.0.0:0") as run:
        assert run.counts.open_without_tls == 1
    assert "open to the network without TLS" in capsys.readouterr().out
