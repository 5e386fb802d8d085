"""Clients that are slow, silent or many: they are bounded, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from enricher.http.connection import Connection

from .rig import NDJSON, PATIENCE_S, Rig, ndjson, request, serving, statuses

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
QUICK: dict[str, Any] = {"header_s": 0.1, "body_s": 0.2, "idle_s": 0.3}


@asynccontextmanager
async def connected(
    rig: Rig, sent: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect, send something, and go no further."""
    before = rig.source.counts.connections
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    try:
        writer.write(sent)
        await writer.drain()
        await rig.wait_for(lambda: rig.source.counts.connections > before)
        yield reader, writer
    finally:
        writer.transport.abort()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait until the server has ended a connection, without an answer."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await reader.read() == b""
    except ConnectionError:
        return True


async def is_served(rig: Rig) -> bool:
    before = len(rig.taken)
    answer = await rig.post(b"{}")
    return answer.status_code == 200 and len(rig.taken) == before + 1


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"", []),
        (HEAD, []),
        (b"\r\n\r\n", []),
        (request(b'{"a"', "Content-Length: 9"), [408]),
        (request(b"5\r\n{", "Transfer-Encoding: chunked"), [408]),
        (request(b"", "Content-Length: 9", "Expect: 100-continue"), [408]),
        (request(b"{}"), [200]),
        (request(b"{}") + HEAD, [200]),
    ],
)
async def test_who_stops_in_the_middle_is_ended(
    sent: bytes, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a head, in a body or between two requests; what was held is given back."""
    monkeypatch.setattr("enricher.http.connection._LINGERING_S", 0.05)
    async with serving(**QUICK) as rig:
        assert statuses(await rig.raw(sent)) == expected
        await rig.wait_for(lambda: not rig.source.counts.connections)
        assert rig.source.counts.held_bytes == 0


async def test_one_who_trickles_does_not_get_more_time() -> None:
    """A byte now and then is no progress: the deadline is that of the whole."""
    async with serving(**QUICK) as rig:
        for begin in (HEAD, request(b"{", "Content-Length: 1000")):
            async with connected(rig, begin) as (reader, writer):
                until = time.monotonic() + 20
                while not reader.at_eof() and time.monotonic() < until:
                    writer.write(b"x")
                    await asyncio.sleep(0.01)
                    if not rig.source.counts.connections:
                        break
                assert not rig.source.counts.connections


async def test_a_new_one_takes_the_place_of_the_one_that_waits_longest() -> None:
    """In a head, in a body, or idle; the one at work keeps its place."""
    async with serving(settles=False, max_connections=4) as rig, AsyncExitStack() as stack:
        at_work = asyncio.create_task(rig.post(b"{}"))
        await rig.until(1)
        held = rig.source.counts.held_bytes
        body = request(b'{"a"', "Content-Length: 9")
        in_head, _ = await stack.enter_async_context(connected(rig, HEAD))
        in_body, _ = await stack.enter_async_context(connected(rig, body))
        await rig.wait_for(lambda: rig.source.counts.held_bytes > held)
        idle, _ = await stack.enter_async_context(connected(rig))
        waiting, new = [in_head, in_body, idle], []
        while waiting:
            assert not any(reader.at_eof() for reader in waiting)
            new.append(await asyncio.open_connection("127.0.0.1", rig.port))
            stack.callback(new[-1][1].transport.abort)
            assert await ended(waiting.pop(0))
        assert rig.source.counts.connections == 4
        assert rig.source.counts.held_bytes == held
        await rig.settle()
        assert (await at_work).status_code == 200


async def test_nobody_at_work_is_ended_for_another() -> None:
    """When all are, a new one is told to come later."""
    async with serving(settles=False, max_connections=2) as rig:
        at_work = [asyncio.create_task(rig.post(b"{}")) for _ in range(2)]
        await rig.until(2)
        answer = await rig.raw(b"")
        assert statuses(answer) == [503]
        assert b"Retry-After: 1\r\n" in answer
        await rig.settle()
        assert [(await one).status_code for one in at_work] == [200, 200]
        assert await is_served(rig)
        assert rig.source.counts.requests == {"200": 3, "503": 1}


async def test_who_stalls_with_much_in_hand_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is fresh it keeps what it holds, and others come later; then it has to go."""
    monkeypatch.setattr("enricher.http.roster.STALLED_S", 0.2)
    async with serving(max_held_bytes=20_000) as rig:
        half = request(b'{"a":"' + b"x" * 15_000, "Content-Length: 30000")
        async with connected(rig), connected(rig, half) as (reader, _):
            await rig.wait_for(lambda: rig.source.counts.held_bytes > 15_000)
            body = b'{"a":"' + b"y" * 10_000 + b'"}'
            assert (await rig.post(body)).status_code == 429
            await asyncio.sleep(0.25)  # what is measured here is time
            chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
            answer = await rig.raw(
                request(chunked, "Transfer-Encoding: chunked", "Connection: close")
            )
            assert statuses(answer) == [200]
            assert await ended(reader)
        assert rig.source.counts.held_bytes == 0


async def test_a_thousand_slow_clients_do_not_keep_out_a_good_one() -> None:
    """Twice as many as there are seats, at every kind of slowness, while good ones come."""
    bodies = (b"", HEAD, request(b'{"a"', "Content-Length: 9"), request(b"{}"))
    async with serving(max_connections=500) as rig:
        connections = []
        for number in range(1000):
            opened = await asyncio.open_connection("127.0.0.1", rig.port)
            opened[1].write(bodies[number % 4])
            connections.append(opened)
            if number % 100 == 99:
                answer = await rig.post(ndjson(50), NDJSON)
                assert (answer.status_code, answer.json()) == (200, {"accepted": 50})
        await rig.wait_for(lambda: rig.source.counts.connections <= 500)
        assert await is_served(rig)
        for _, writer in connections:
            writer.transport.abort()
        await rig.wait_for(lambda: not rig.source.counts.connections)


async def test_who_does_not_shake_hands_is_ended(tmp_path: Path) -> None:
    """With TLS a seat is taken before the handshake; it has the deadline of a head."""
    issued = trustme.CA().issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    tls = {"certificate_file": "server.pem"}
    async with serving(tmp_path, tls=tls, header_s=0.2, max_connections=3) as rig:
        async with AsyncExitStack() as stack:
            readers = [
                (await stack.enter_async_context(connected(rig, sent)))[0]
                for sent in (b"", b"\x16\x03\x01", b"")
            ]
            opened = await asyncio.open_connection("127.0.0.1", rig.port)  # takes the first's seat
            for reader in readers:
                assert await ended(reader)
            opened[1].transport.abort()
        await rig.wait_for(lambda: not rig.source.counts.connections)


async def test_what_is_sent_ahead_is_not_read_without_end() -> None:
    """Behind a request whose answer is due, a client may send what the buffers take, and no more."""
    async with serving(settles=False) as rig:
        async with connected(rig, request(b"{}")) as (_, writer):
            await rig.until(1)
            pushed, piece = 0, request(b'{"a":"' + b"x" * 100_000 + b'"}')
            try:
                async with asyncio.timeout(0.5):
                    while pushed < 1 << 30:
                        writer.write(piece)
                        await writer.drain()
                        pushed += len(piece)
            except TimeoutError:
                pass
            assert pushed < 64 << 20
            assert len(rig.taken) == 1
            await rig.settle()
            await rig.until(10)


async def test_too_many_open_files_are_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accepting goes on once it can."""
    monkeypatch.setattr("enricher.http.listener._PAUSE_S", 0.01)
    async with serving() as rig:
        loop = asyncio.get_running_loop()
        accept, refused = loop.sock_accept, 3

        async def failing(listening: object) -> object:
            nonlocal refused
            if refused:
                refused -= 1
                raise OSError(24, "Too many open files")
            return await accept(listening)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "sock_accept", failing)
        assert await is_served(rig)
        assert await is_served(rig)
        assert not refused


async def test_connections_that_have_ended_are_forgotten() -> None:
    """However they ended: what is left of one is left of all, and would fill memory in time."""
    kinds = (
        b"",
        HEAD,
        b"no HTTP\r\n\r\n",
        request(b'{"a"', "Content-Length: 9"),
        request(b"{}"),
        request(b"{}") * 40,
        request(b"["),
    )
    async with serving() as rig:
        for sent in kinds * 5:
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            writer.write(sent)
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(0.02):
                    await reader.read(1)
            writer.transport.abort()
        await rig.wait_for(lambda: not rig.source.counts.connections)
        await asyncio.sleep(0)
        gc.collect()
        left = [one for one in gc.get_objects() if type(one) is Connection]
        assert len(left) <= 1, "the last one, in a frame"
