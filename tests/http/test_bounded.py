"""A real daemon under attack: 64 MiB more at most, and good clients are served meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

import cramjam
import httpx
import psutil
import pytest

from tests.cli.program import Daemon
from tests.servers.process import free_ports

from .rig import NDJSON, ndjson, request, statuses

ALLOWED = 64 << 20
ATTACKERS = 1000
PIPELINE = """\
name: tiny
connections: {{elasticsearch: {{store: store.db}}}}
sources: [{{http: {{listen: "127.0.0.1:{port}", header_s: 4, body_s: 20}}}}]
stages: [{{json: {{}}}}]
routes: [{{elasticsearch: {{index: logs}}}}]
"""
CLOSE = "Connection: close"
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


class Target(NamedTuple):
    """A running daemon."""

    port: int
    process: psutil.Process

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def raw(self, sent: bytes) -> list[int]:
        """Send it, and give the statuses that come back."""
        with suppress(ConnectionError):
            reader, writer = await self.connect()
            try:
                writer.write(sent)
                async with asyncio.timeout(60):
                    return statuses(await reader.read())
            finally:
                writer.transport.abort()
        return []

    def resident(self) -> int:
        return int(self.process.memory_info().rss)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    """Start a daemon and let it see what it will see in peace, so that it is warm."""
    (port,) = free_ports(1)
    (tmp_path / "p.yaml").write_text(PIPELINE.format(port=port))
    with Daemon("run", "p.yaml", "--dead-letters", "dead.ndjson", folder=tmp_path) as daemon:
        daemon.wait_for("http source")
        target = Target(port, psutil.Process(daemon.process.pid))
        with httpx.Client() as client:
            for _ in range(5):
                post = client.post(
                    f"http://127.0.0.1:{port}/",
                    content=ndjson(5000),
                    headers={"Content-Type": NDJSON},
                )
                assert post.status_code == 200
        yield target
        assert daemon.process.poll() is None, daemon.text
        daemon.terminate()
        assert daemon.wait() == 0, daemon.text


class Watch:
    """Sees that memory stays where it is, and that a good client is served, all the while."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.before = self.peak = target.resident()
        self.served = 0

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(work) for work in (self._sample(), self._ask())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _sample(self) -> None:
        while True:
            self.peak = max(self.peak, self.target.resident())
            await asyncio.sleep(0.02)

    async def _ask(self) -> None:
        url, headers = f"http://127.0.0.1:{self.target.port}/", {"Content-Type": NDJSON}
        async with httpx.AsyncClient(timeout=30) as client:
            while True:
                with suppress(httpx.RemoteProtocolError, httpx.ReadError):  # it had been idle
                    answer = await client.post(url, content=ndjson(100), headers=headers)
                    assert answer.status_code in (200, 429, 503)
                    self.served += answer.status_code == 200
                await asyncio.sleep(0.05)

    async def see(self, what: str) -> None:
        """Wait until the good client was served once more; memory must have been bounded."""
        before = self.served
        async with asyncio.timeout(30):
            while self.served < before + 2:
                assert not self._tasks[1].done(), self._tasks[1].exception()
                await asyncio.sleep(0.01)
        shown = f"{what}: {self.before >> 20} MiB before, {self.peak >> 20} at most"
        print(shown)
        assert self.peak - self.before <= ALLOWED, shown


def zeros(mebibytes: int) -> Iterator[bytes]:
    return (bytes(1 << 20) for _ in range(mebibytes))


@cache
def gzip_bomb() -> bytes:
    """A gibibyte in one."""
    stream = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join(map(stream.compress, zeros(1024))) + stream.flush()


@cache
def zstd_bomb() -> bytes:
    return bytes(cramjam.zstd.compress(bytes(1 << 28))) * 4


BOMBS: dict[str, tuple[Callable[[], bytes], set[int]]] = {
    "1 GiB in gzip": (lambda: request(gzip_bomb(), "Content-Encoding: gzip"), {413}),
    "1 GiB in zstd": (lambda: request(zstd_bomb(), "Content-Encoding: zstd"), {413}),
    "50,000 members of gzip": (
        lambda: request(gzip.compress(b"") * 50_000, "Content-Encoding: gzip"), {400}),
    "100,000 open brackets": (lambda: request(b"[" * 100_000, CLOSE, kind="application/json"), {400}),
    "100,000 open brackets in a line": (
        lambda: request(b"[" * 100_000, CLOSE, kind=NDJSON), {200}),
    "a record of 8 MiB of brackets": (
        lambda: request(b"[[" + b"[]," * 2_700_000 + b"[]]]", CLOSE, kind="application/json"), {413, 429}),
    "2,700,000 records": (
        lambda: request(b"[" + b"{}," * 2_700_000 + b"{}]", CLOSE, kind="application/json"), {413, 429}),
    "a line of 8 MB": (
        lambda: request(b'{"a":"' + b"x" * 8_000_000 + b'"}', CLOSE, kind=NDJSON),
        {200, 429}),
    "4,000,000 blank lines": (lambda: request(b"\n" * 4_000_000, CLOSE, kind=NDJSON), {400, 413, 429}),
    "20,000 lines of nothing": (
        lambda: request(b"1\n" * 20_000, CLOSE, kind=NDJSON), {200, 429}),
    "chunks of one byte": (
        lambda: request(b"1\r\n1\r\n" * 40_000 + b"0\r\n\r\n", "Transfer-Encoding: chunked",
                        CLOSE, kind=NDJSON), {200}),
    "a head without end": (lambda: HEAD + b"".join(b"X%d: %s\r\n" % (n, b"a" * 8000) for n in range(99)), set()),
}  # fmt: skip


def test_bombs_are_refused_or_bounded(target: Target) -> None:
    """Ten clients send the same at a time, twice."""

    async def attack() -> None:
        async with Watch(target) as watch:
            for name, (make, expected) in BOMBS.items():
                bomb = make()
                for _ in range(2):
                    found = await asyncio.gather(*(target.raw(bomb) for _ in range(10)))
                    assert {status for one in found for status in one} <= expected, name
                await watch.see(name)

    asyncio.run(attack())


async def _silent(target: Target) -> None:
    await _hold(target, b"")


async def _in_head(target: Target) -> None:
    await _hold(target, HEAD + b"X: " + b"a" * 4000, b"a")


async def _in_body(target: Target) -> None:
    await _hold(target, request(b'{"a":"' + b"x" * 30_000, "Content-Length: 4000000"), b"x")


async def _in_gzip(target: Target) -> None:
    bomb = gzip_bomb()[:1000]
    await _hold(target, request(bomb, "Content-Encoding: gzip", "Content-Length: 9000"))


async def _ahead(target: Target) -> None:
    """Send request after request, and read no answer."""
    await _hold(target, request(b"{}") * 2000)


async def _hold(target: Target, begin: bytes, more: bytes = b"") -> None:
    """Send something, and then hardly more, until it is ended."""
    with suppress(ConnectionError, TimeoutError):
        reader, writer = await target.connect()
        try:
            writer.write(begin)
            async with asyncio.timeout(5):
                while not reader.at_eof():
                    await asyncio.sleep(0.3)
                    writer.write(more)
                    await writer.drain()
        finally:
            writer.transport.abort()


def test_a_thousand_slow_clients_are_bounded(target: Target) -> None:
    """Whatever they are slow at."""

    async def attack() -> None:
        async with Watch(target) as watch:
            for hold in (_silent, _in_head, _in_body, _in_gzip, _ahead):
                await asyncio.gather(*(hold(target) for _ in range(ATTACKERS)))
                await watch.see(hold.__name__)

    asyncio.run(attack())
