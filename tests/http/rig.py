"""The http source as a server in this process, and those who talk to it."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from enricher.http.source import HttpSource
from enricher.model import Delivery, Record
from enricher.sources.base import Setting
from enricher.sources.http import Http

JSON = "application/json"
NDJSON = "application/x-ndjson"
PATIENCE_S = 20


@dataclass(slots=True)
class Rig:
    """A source, and a runtime that settles what it takes at once, or when it is told to."""

    source: HttpSource
    taken: list[Record] = field(default_factory=list)
    held: list[Delivery] = field(default_factory=list)
    """Taken and not settled, while `settles` is false."""
    settles: bool = True
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def port(self) -> int:
        assert self.source.address is not None
        return self.source.address.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def values(self) -> list[bytes]:
        return [record.value for record in self.taken]

    @property
    def ids(self) -> list[str]:
        return [record.id for record in self.taken]

    async def take(self) -> None:
        """Do what the runtime does."""
        async for delivery in self.source.deliveries():
            self.taken += delivery.records
            if self.settles:
                await delivery.acknowledge()
            else:
                self.held.append(delivery)
            self.arrived.set()

    async def settle(self) -> None:
        """Settle what is held, and from now on all."""
        self.settles = True
        for delivery in self.held:
            await delivery.acknowledge()
        self.held.clear()

    async def until(self, count: int) -> None:
        """Wait until so many records were taken."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.taken) < count:
                self.arrived.clear()
                await self.arrived.wait()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Let the server go on until something is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.001)

    async def post(self, content: bytes, kind: str = JSON, **headers: str) -> httpx.Response:
        """POST over a connection of its own."""
        async with httpx.AsyncClient() as client:
            named = {name.replace("_", "-"): text for name, text in headers.items()}
            return await client.post(
                self.url, content=content, headers={"Content-Type": kind, **named}
            )

    async def raw(self, *parts: bytes, timeout_s: float = PATIENCE_S) -> bytes:
        """Send bytes as they are, and give all that comes back until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            async with asyncio.timeout(timeout_s):
                return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    folder: Path = Path(), *, settles: bool = True, **settings: Any
) -> AsyncIterator[Rig]:
    """Serve with these settings, on a port of its own."""
    config = Http(**{"listen": "127.0.0.1:0", **settings})
    source = config.build(Setting(folder=folder))
    rig = Rig(source, settles=settles)
    taking = asyncio.create_task(rig.take())
    while source.address is None and not taking.done():
        await asyncio.sleep(0)
    try:
        yield rig
    finally:
        source.stop()
        await source.close()
        await taking


def request(
    body: bytes = b"{}", *headers: str, kind: str = JSON, line: str = "POST / HTTP/1.1"
) -> bytes:
    """Write a request; a length is given unless the headers say how long it is."""
    lines = [line, "Host: x", f"Content-Type: {kind}", *headers]
    if not any(one.lower().startswith(("content-length", "transfer-enc")) for one in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def statuses(answer: bytes) -> list[int]:
    """Give the status of every answer in what came back."""
    found = re.findall(rb"HTTP/\d\.\d (\d{3}) ", answer)
    return [int(status) for status in found if status != b"100"]


def ndjson(count: int, first: int = 0, **fields: Any) -> bytes:
    """Make numbered records, one a line."""
    return b"".join(
        orjson.dumps({"n": number, **fields}, option=orjson.OPT_APPEND_NEWLINE)
        for number in range(first, first + count)
    )


def client_tls(authority: Any) -> ssl.SSLContext:
    """Trust a test's authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
