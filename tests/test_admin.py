"""The admin endpoint: where it listens, what it answers, and what it refuses."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from enricher import admin, monitor
from enricher.address import Address
from enricher.admin import Page
from enricher.health import Health
from enricher.model import UserError

from .test_runtime import Run

LOOPBACK = Address("127.0.0.1", 0)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9600", Address("127.0.0.1", 9600)),
        ("localhost:0", Address("localhost", 0)),
        ("0.0.0.0:80", Address("0.0.0.0", 80)),
        ("[::1]:9600", Address("::1", 9600)),
        ("unix:/run/enricher.sock", Address(path="/run/enricher.sock")),
        ("unix:a:1", Address(path="a:1")),
        ("off", None),
    ],
)
def test_an_address_is_read_and_written(text: str, address: Address | None) -> None:
    assert admin.parse(text) == address
    assert address is None or str(address) == text


@pytest.mark.parametrize(
    "text",
    ["", "9600", ":9600", "localhost", "localhost:", "localhost:http", "localhost:65536", "h:-1",
     "unix:", "::1:9600", "[::1]", "[localhost]:1", "http://localhost:9600", "h:٣"],
)  # fmt: skip
def test_what_is_no_address_is_told_with_what_to_write(text: str) -> None:
    with pytest.raises(UserError) as caught:
        admin.parse(text)
    told = str(caught.value)
    assert told.startswith(f'--admin: "{text}" is no address; write HOST:PORT')
    assert "unix:PATH, or off" in told
    assert "\n" not in told


@pytest.mark.parametrize("kind", ["port", "unix"])
async def test_an_address_in_use_is_told_with_what_to_do(kind: str, tmp_path: Path) -> None:
    """The one who has it goes on serving."""
    wanted = LOOPBACK if kind == "port" else Address(path=str(tmp_path / "s"))
    async with admin.serving(wanted, {}) as first:
        with pytest.raises(UserError, match="is in use.*--admin off") as caught:
            admin.listen(first)
        assert str(first) in str(caught.value)
        assert (await asked(first, "/"))[0] == 200


@pytest.mark.parametrize(
    "address", [Address("192.0.2.1", 9600), Address("no.such.host.invalid", 1), Address(path="/")]
)
def test_an_address_that_cannot_be_had_is_one_line(address: Address) -> None:
    with pytest.raises(UserError, match="--admin") as caught:
        admin.listen(address)
    assert str(address) in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_unix_socket_is_its_owners_and_goes_with_the_server(tmp_path: Path) -> None:
    """One that a killed process left behind is taken over; a file in its place is not."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with admin.serving(Address(path=str(path)), {}) as address:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await asked(address, "/"))[0] == 200
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(UserError, match="is in use"):
        admin.listen(Address(path=str(path)))
    assert path.read_text() == "precious"


async def test_a_host_that_is_not_loopback_is_said_to_be_open() -> None:
    for host, warnings in (("127.0.0.1", 0), ("0.0.0.0", 1)):
        with capture_logs() as logs:
            async with admin.serving(Address(host, 0), {}) as address:
                assert address.port > 0
        assert logs[0] == {"event": "admin endpoint", "address": str(address), "log_level": "info"}
        assert [line["log_level"] for line in logs[1:]] == ["warning"] * warnings


async def asked(
    address: Address, path: str, method: str = "GET", **options: Any
) -> tuple[int, str, str]:
    """Ask; give status, content type and body."""
    connector = (
        aiohttp.UnixConnector(address.path) if address.path else aiohttp.TCPConnector(limit=4)
    )
    async with aiohttp.ClientSession(connector=connector) as session:
        base = "http://enricher" if address.path else f"http://{address}"
        async with session.request(method, base + path, **options) as answer:
            return answer.status, answer.headers.get("content-type", ""), await answer.text()


@asynccontextmanager
async def watching(run: Run) -> AsyncIterator[Address]:
    """Serve a runtime's pages on a free port."""
    health = Health(run.runtime, run.stopping)
    async with admin.serving(LOOPBACK, monitor.pages(health)) as address:
        yield address


async def test_the_pages_are_there_from_before_the_sinks_are_open() -> None:
    """Alive and not ready while the sinks are opening; ready once they are."""
    run = Run(endless=True)
    run.a.opening.clear()
    async with watching(run) as address:
        task = run.start()
        await asyncio.sleep(0)
        assert await asked(address, "/health/live") == (200, "application/json", '{"live":true}')
        assert await asked(address, "/health/ready") == (
            503,
            "application/json",
            '{"ready":false,"reasons":["sinks: not connected yet"]}',
        )
        status, kind, text = await asked(address, "/metrics")
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert "\nenricher_ready 0.0\n" in text
        status, kind, text = await asked(address, "/status")
        assert (status, kind) == (200, "application/json")
        assert '"ready": false' in text
        run.a.opening.set()
        while (await asked(address, "/health/ready"))[0] == 503:
            await asyncio.sleep(0)
        assert (await asked(address, "/health/ready"))[2] == '{"ready":true,"reasons":[]}'
        run.stopping.set()
        assert (await asked(address, "/health/ready"))[2] == (
            '{"ready":false,"reasons":["stopping"]}'
        )
        assert await task is True


async def test_only_get_and_head_of_known_pages() -> None:
    async with watching(Run()) as address:
        status, _, body = await asked(address, "/metrics", "HEAD")
        assert (status, body) == (200, "")
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert (await asked(address, "/metrics", method, data=b"x" * 100_000))[0] == 405
        assert (await asked(address, "/etc/passwd"))[0] == 404
        assert (await asked(address, "/"))[2].split() == [
            "/metrics", "/health/live", "/health/ready", "/status",
        ]  # fmt: skip


async def test_what_is_malformed_or_too_large_is_refused(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A bad client is told so, and leaves no traceback."""
    async with watching(Run()) as address:
        assert (await asked(address, "/", headers={"x": "y" * 10_000}))[0] == 400
        for text in (b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x00\x05"):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(text)
            writer.write_eof()
            async with asyncio.timeout(10):
                answer = await reader.read()
            assert not answer.startswith(b"HTTP/1.1 2")
            writer.close()
            await writer.wait_closed()
        assert (await asked(address, "/health/live"))[0] == 200
    assert "Traceback" not in capfd.readouterr().err


async def test_a_page_that_fails_is_a_500_without_its_secrets() -> None:
    async def fail() -> Page:
        raise RuntimeError("secret")

    async with admin.serving(LOOPBACK, {"/status": fail}) as address:
        status, _, text = await asked(address, "/status")
    assert status == 500
    assert "secret" not in text


async def test_a_run_that_is_not_watched_opens_no_socket() -> None:
    run = Run()
    before = len(os.listdir("/proc/self/fd"))
    async with monitor.watched(run.runtime, run.stopping, None):
        assert len(os.listdir("/proc/self/fd")) == before
        assert len(asyncio.all_tasks()) == 1
