"""Who sends badly, too slowly or too much harms nobody else."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from enricher.beats.server import HELD

from . import wire
from .running import Running, Sender, running, sending, until
from .wire import ack

KIB, MIB = 1 << 10, 1 << 20
SOON = 0.2
"""Seconds between keep-alives."""


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "protocol"),
        (wire.window(2**32 - 1), "window"),
        (wire.batch([b"1"]) + wire.event(2, b"2"), "window"),
        (b"2C\xff\xff\xff\xff", "frame"),
        (wire.compressed(wire.compressed(b"")), "nested"),
        (wire.window(1) + wire.raw_compressed(b"no zlib"), "inflate"),
        (wire.window(1) + wire.compressed(wire.event(1, bytes(8 * MIB))), "ratio"),
    ],
)
async def test_unsound_frames_end_their_connection_alone(frames: bytes, reason: str) -> None:
    """Counted by reason; a sender beside it notices nothing."""
    async with running() as run, sending(run) as good, sending(run) as bad:
        await good.send(wire.window(2) + wire.event(1, b'"good"'))
        await bad.send(frames)
        await until(lambda: run.counts.refused == {reason: 1}, f"refused for {reason}")
        await until(lambda: run.source._held == 0 or run.counts.connections == 1, "freed")
        await good.send(wire.event(2, b'"good"'))
        await until(lambda: run.values().count(b'"good"') == 2, "served")
        await run.settle()
        assert await good.ack() == ack(2)
        while await bad.ack():
            pass
        await until(lambda: run.counts.connections == 1, "closed")


async def test_what_came_before_unsound_frames_is_acknowledged() -> None:
    """Else its sender would send it again, for ever, ahead of what is unsound."""
    async with running() as run, sending(run) as sender:
        await sender.send(wire.batch([b"1"]) + b"garbage")
        await run.taken(1)
        await until(lambda: run.refused("protocol"), "refused")
        await run.settle()
        assert await sender.ack() == ack(1)
        assert await sender.ack() == b""


async def test_a_slow_sender_has_a_deadline() -> None:
    """One that says nothing, one that stops inside a window, and one that sends byte by byte."""
    async with running(read_timeout_s=0.5) as run:
        async with sending(run), sending(run) as stuck, sending(run) as drip:
            await stuck.send(wire.window(2) + wire.event(1, b"1"))
            await run.taken(1)
            await run.settle()
            await drip.send(wire.window(1) + wire.event(1, b"x" * 1000)[:10])
            dripping = asyncio.create_task(drip_on(drip))
            await until(lambda: run.refused("slow") == 3, "refused")
            await until(lambda: not run.counts.connections, "closed")
            dripping.cancel()


async def drip_on(sender: Sender) -> None:
    while True:
        await sender.send(b"x")
        await asyncio.sleep(0.05)


async def test_time_that_we_took_is_not_the_senders() -> None:
    """While nothing is read for want of room, no deadline passes."""
    async with running(read_timeout_s=0.5, keepalive_s=SOON, max_bytes=KIB) as run:
        async with sending(run) as sender:
            await sender.send(wire.window(20) + wire.event(1, b"x" * KIB))
            await run.taken(1)
            assert run.source.is_shut
            for _ in range(8):
                assert await sender.ack() == ack(0)
            await sender.send(b"".join(wire.event(number, b"1") for number in range(2, 21)))
            await run.settle()
            await run.taken(20)
            assert not run.counts.refused


async def test_an_idle_connection_is_closed_in_the_end() -> None:
    """Between two windows it may rest longer than inside one; that is no refusal."""
    async with running(read_timeout_s=0.4, idle_timeout_s=1.5) as run, sending(run) as sender:
        await sender.send(wire.batch([b"1"]))
        await run.taken(1)
        await run.settle()
        assert await sender.ack() == ack(1)
        await asyncio.sleep(0.8)
        assert run.counts.connections == 1
        assert await sender.ack() == b""
        assert not run.counts.refused


async def test_connections_are_bounded() -> None:
    """Who has kept us waiting longest goes; nobody goes who waits for us."""
    async with running(max_connections=2) as run:
        async with sending(run) as first, sending(run) as second:
            await second.send(wire.batch([b"1"]))
            await run.taken(1)
            async with sending(run) as third:
                assert await first.ack() == b""
                await third.send(wire.batch([b"2"]))
                await run.taken(2)
                async with sending(run) as fourth:
                    assert await fourth.ack() == b""
                assert run.refused("connections") == 2
                await run.settle()
                assert [await second.ack(), await third.ack()] == [ack(1), ack(1)]
                await until(lambda: run.counts.connections == 2, "two")


async def test_incomplete_frames_hold_no_more_than_there_is_for_all() -> None:
    """Beyond that the oldest of them goes; one that is through in time does not."""
    part = wire.window(1) + wire.event(1, b"x" * MIB)[:-1]
    senders: list[Sender] = []
    async with running() as run:
        for number in range(HELD // MIB + 3):
            reader, writer = await asyncio.open_connection(wire.HOST, run.port)
            senders.append(Sender(reader, writer))
            await senders[-1].send(part)
            await until(partial(begun, run, number + 1), "begun")
            await until(lambda: run.source._held <= HELD, "bounded")
        await until(lambda: run.refused("memory") >= 3, "bounded")
        assert await senders[0].ack() == b""
        await senders[-1].send(b"x")
        await run.taken(1)
        await run.settle()
        assert await senders[-1].ack() == ack(1)
        for sender in senders:
            sender.writer.transport.abort()


def begun(run: Running, windows: int) -> bool:
    return bool(run.counts.windows == windows)


async def test_one_that_reads_no_acks_is_read_no_more() -> None:
    """It would have us keep them; it goes once its deadline has passed."""
    async with running(read_timeout_s=0.5) as run, sending(run, receive=4096) as deaf:
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
        flood = asyncio.create_task(drown(deaf))
        while not run.refused("slow"):
            await asyncio.sleep(0)
            deliveries, run.deliveries = run.deliveries, []
            for delivery in deliveries:
                await delivery.acknowledge()
        await until(lambda: not run.counts.connections, "closed")
        flood.cancel()


async def drown(sender: Sender) -> None:
    windows = wire.batch([b"1"]) * 1000
    while True:
        await sender.send(windows)
