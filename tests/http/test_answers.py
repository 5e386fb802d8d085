"""Every answer that a request may get, asked of a real server."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable

import cramjam
import httpx
import orjson
import pytest

from .rig import JSON, NDJSON, ndjson, request, serving, statuses


async def test_records_are_accepted_in_every_form() -> None:
    """One object, an array, objects one after the other, or lines; blank lines are none."""
    async with serving() as rig:
        for body, kind, count in (
            (b'{"n":0}', JSON, 1),
            (b'{\n  "n": 1\n}\n', JSON, 1),
            (b'[{"n":2}, {"n":3}]', JSON, 2),
            (b'{"n":4}\n{"n":5}', JSON, 2),
            (b'{"n":6}\n\n  \r\n{"n":7}\r\n', NDJSON, 2),
            (b"[]", JSON, 0),
        ):
            answer = await rig.post(body, kind)
            assert (answer.status_code, answer.json()) == (200, {"accepted": count})
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["server"] == "enricher"
        assert [orjson.loads(value)["n"] for value in rig.values] == list(range(8))
        assert {record.stream for record in rig.taken} == {"http"}


async def test_a_bad_record_concerns_itself_alone() -> None:
    """All of them go on, as they were sent: the plan makes a dead letter of the bad one."""
    async with serving() as rig:
        answer = await rig.post(b'{"n":0}\nno JSON\n{"n":2}\n', NDJSON)
        assert (answer.status_code, answer.json()) == (200, {"accepted": 3})
        answer = await rig.post(b'[{"n":3}, 4, {"n":NaN}]')
        assert (answer.status_code, answer.json()) == (200, {"accepted": 3})
        assert rig.values == [b'{"n":0}', b"no JSON", b'{"n":2}', b'{"n":3}', b"4", b'{"n":NaN}']
        assert [record.position for record in rig.taken] == [1, 2, 3, 1, 2, 3]


async def test_what_cannot_be_cut_is_told_its_place_and_nothing_is_taken() -> None:
    async with serving() as rig:
        answer = await rig.post(b'[{"a":1},\n{"b":}]')
        assert answer.status_code == 400
        assert answer.json() == {
            "error": "not JSON: Expecting value; nothing was taken",
            "line": 2,
            "byte": 15,
        }
        for body in (b"", b" \n", b"hello"):
            assert (await rig.post(body)).status_code == 400
        assert rig.taken == []


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": lambda data: bytes(cramjam.zstd.compress(data)),
    "identity": bytes,
}


@pytest.mark.parametrize("encoding", ENCODERS)
async def test_bodies_may_be_compressed(encoding: str) -> None:
    """Whole, or in chunks."""
    body = ENCODERS[encoding](ndjson(500))

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 100):
            yield body[at : at + 100]

    async with serving() as rig, httpx.AsyncClient() as client:
        headers = {"Content-Type": NDJSON, "Content-Encoding": encoding}
        for content in (body, chunks()):
            answer = await client.post(rig.url, content=content, headers=headers)
            assert (answer.status_code, answer.json()) == (200, {"accepted": 500})
        assert rig.values == ndjson(500).splitlines() * 2
        assert rig.source.counts.received_bytes == 2 * len(body)
        assert rig.source.counts.received_records == 1000


async def test_damaged_data_is_refused_with_its_place() -> None:
    async with serving() as rig:
        answer = await rig.post(gzip.compress(b"{}")[:-4], content_encoding="gzip")
        assert (answer.status_code, answer.json()["byte"]) == (400, 18)
        answer = await rig.post(b"{}", content_encoding="br")
        assert answer.status_code == 415
        assert answer.headers["accept-encoding"] == "gzip, deflate, zstd"
        assert rig.taken == []


async def test_wrong_requests_are_told_what_is_right() -> None:
    async with serving(path="/logs") as rig, httpx.AsyncClient(base_url=rig.url) as client:
        headers = {"Content-Type": JSON}
        assert (await client.post("/logs?x=1", content=b"{}", headers=headers)).status_code == 200
        assert (await client.post("/", content=b"{}", headers=headers)).status_code == 404
        answer = await client.get("/logs")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        answer = await client.post("/logs", content=b"{}", headers={"Content-Type": "text/plain"})
        assert answer.status_code == 415
        assert answer.headers["accept"] == "application/json, application/x-ndjson"
        assert len(rig.taken) == 1


async def test_what_is_too_large_is_refused() -> None:
    """As sent, whether its length is told before or not; as inflated; and in records."""
    async with serving(max_body_bytes=2048, max_inflated_bytes=4096, max_records=10) as rig:
        large = b'{"a":"' + b"x" * 3000 + b'"}'
        chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(large), large)
        for answer in (
            await rig.raw(request(large)),
            await rig.raw(request(chunked, "Transfer-Encoding: chunked")),
            await rig.raw(request(gzip.compress(large * 2), "Content-Encoding: gzip")),
            await rig.raw(request(ndjson(11), kind=NDJSON)),
            await rig.raw(request(b"[" + b"1," * 11 + b"1]")),
        ):
            assert statuses(answer) == [413], answer
        inflates = await rig.post(gzip.compress(large), content_encoding="gzip")
        assert inflates.status_code == 200
        assert len(rig.taken) == 1


async def test_expectations_are_answered_before_the_body_is_sent() -> None:
    """It is asked for where it is wanted, and refused where it is not."""
    wanted = (JSON, "Content-Length: 2", "Expect: 100-continue")
    async with serving(max_body_bytes=1024, token="t") as rig:

        async def first_line(*headers: str) -> bytes:
            kind, *others = headers
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            try:
                writer.write(request(b"", *others, kind=kind))
                line = await reader.readline()
                if b" 100 " in line:
                    writer.write(b"{}")
                    await reader.readline()
                    line += await reader.readline()
                return line
            finally:
                writer.close()

        key = "Authorization: Bearer t"
        asked = b"HTTP/1.1 100 Continue\r\nHTTP/1.1 200 OK\r\n"
        assert await first_line(*wanted, key) == asked
        assert b" 401 " in await first_line(*wanted)
        assert b" 415 " in await first_line("text/plain", *wanted[1:], key)
        assert b" 413 " in await first_line(JSON, "Content-Length: 9999", wanted[2], key)
        assert b" 417 " in await first_line(*wanted[:2], "Expect: tea", key)
        assert len(rig.taken) == 1


async def test_a_full_inbox_is_told_to_come_later() -> None:
    """What was refused was not taken; once there is room, it is; the connection stays."""
    async with serving(settles=False, max_held_bytes=4096) as rig, httpx.AsyncClient() as client:
        headers = {"Content-Type": NDJSON}
        first = asyncio.create_task(client.post(rig.url, content=ndjson(8), headers=headers))
        await rig.until(8)
        for content in (ndjson(8), b'{"a":"' + b"x" * 4000 + b'"}'):
            answer = await client.post(rig.url, content=content, headers=headers)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
            assert "send the same again later" in answer.json()["error"]
        assert len(rig.taken) == 8
        assert not first.done()
        await rig.settle()
        assert (await first).json() == {"accepted": 8}
        assert (await client.post(rig.url, content=ndjson(8), headers=headers)).status_code == 200
        assert rig.source.counts.held_bytes == 0
        assert rig.source.counts.requests == {"200": 2, "429": 2}


async def test_the_answer_comes_once_all_are_durable() -> None:
    """Of a request that is more than one delivery, when the last is settled."""
    async with serving(settles=False) as rig:
        answer = asyncio.create_task(rig.post(ndjson(2500), NDJSON))
        await rig.until(2500)
        assert [len(delivery.records) for delivery in rig.held] == [1000, 1000, 500]
        for delivery in reversed(rig.held):
            await asyncio.sleep(0.01)
            assert not answer.done()
            await delivery.acknowledge()
        assert (await answer).json() == {"accepted": 2500}
        assert rig.values == ndjson(2500).splitlines()


async def test_received_may_be_enough() -> None:
    """202 says that it is taken, and no more."""
    async with serving(settles=False, ack="received") as rig:
        answer = await rig.post(ndjson(3), NDJSON)
        assert (answer.status_code, answer.json()) == (202, {"accepted": 3})
        await rig.until(3)


async def test_who_waits_too_long_is_told_that_the_outcome_is_unknown() -> None:
    """The records go on all the same."""
    async with serving(settles=False, answer_s=0.05) as rig:
        answer = await rig.post(b"{}")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "not durable within 0.05 s, but it may be yet" in answer.json()["error"]
        await rig.settle()
        assert rig.source.counts.held_bytes == 0


async def test_a_client_that_goes_away_changes_nothing() -> None:
    """After its body has come, its records are settled; before, nothing is taken."""
    async with serving(settles=False) as rig:
        held = 0
        for body in (request(b'{"n":1}'), request(b'{"n"', "Content-Length: 9")):
            _, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            writer.write(body)
            await rig.until(1)
            await rig.wait_for(lambda: rig.source.counts.held_bytes > held)
            held = rig.source.counts.held_bytes
            writer.transport.abort()
        await rig.wait_for(lambda: rig.source.counts.requests == {"499": 1})
        await rig.settle()
        await rig.wait_for(lambda: rig.source.counts.requests == {"200": 1, "499": 1})
        await rig.wait_for(lambda: not rig.source.counts.connections)
        assert rig.values == [b'{"n":1}']
        assert rig.source.counts.held_bytes == 0
