"""A source in this process, with the test in the runtime's place."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from enricher.beats.server import BeatsSource
from enricher.model import Delivery
from enricher.sources.base import Setting
from enricher.sources.beats import Beats

from . import wire

DEADLINE_S = 20.0


async def until(done: Callable[[], object], what: str = "it") -> None:
    """Wait until something is so."""
    end = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < end, f"not {what} within {DEADLINE_S:g} s"
        await asyncio.sleep(0.005)


class Running:
    """A source that listens; its deliveries lie in a list until the test settles them."""

    def __init__(self, source: BeatsSource) -> None:
        self.source = source
        self.deliveries: list[Delivery] = []
        self._settled: set[int] = set()
        self.ended = False

    async def read(self) -> None:
        async for delivery in self.source.deliveries():
            self.deliveries.append(delivery)
        self.ended = True

    @property
    def port(self) -> int:
        assert self.source.address is not None
        return self.source.address.port

    @property
    def counts(self) -> Any:
        return self.source.counts

    def refused(self, reason: str) -> int:
        return self.source.counts.refused.get(reason, 0)

    def values(self) -> list[bytes]:
        return [record.value for delivery in self.deliveries for record in delivery.records]

    async def taken(self, count: int) -> None:
        """Wait until so many records are here."""
        await until(lambda: len(self.values()) >= count, f"{count} records")

    async def settle(self, *numbers: int) -> None:
        """Settle deliveries by number, each once; all that are here where none is named."""
        for number in numbers or range(len(self.deliveries)):
            if number not in self._settled:
                self._settled.add(number)
                await self.deliveries[number].acknowledge()


class Sender:
    """A sender on a stream of asyncio."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, frames: bytes) -> None:
        self.writer.write(frames)
        await self.writer.drain()

    async def ack(self) -> bytes:
        """Give the next acknowledgement as it came; nothing where the connection ended."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self.reader.readexactly(6)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def running(
    folder: Path = Path(), worker: int | None = None, **fields: Any
) -> AsyncIterator[Running]:
    """Run a source meanwhile."""
    model = Beats.model_validate({"listen": "127.0.0.1:0", **fields})
    source = model.build(Setting(folder=folder, worker=worker))
    run = Running(source)
    reading = asyncio.create_task(run.read())
    try:
        await until(lambda: source.address or reading.done(), "listening")
        if reading.done():
            await reading
        yield run
        source.stop()
        await until(lambda: run.ended, "ended")
    finally:
        reading.cancel()
        await source.close()
    assert source.counts.connections == 0


@asynccontextmanager
async def sending(run: Running, receive: int = 0, **options: Any) -> AsyncIterator[Sender]:
    """Connect a sender meanwhile; its kernel may hold only so many bytes for it to `receive`."""
    made = socket.socket()
    if receive:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, (wire.HOST, run.port))
    reader, writer = await asyncio.open_connection(sock=made, **options)
    try:
        yield Sender(reader, writer)
    finally:
        writer.transport.abort()
