"""What is no HTTP, or HTTP that two may read in two ways: one answer, and nothing behind it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .rig import JSON, NDJSON, request, serving, statuses

CLOSE = "Connection: close"
CHUNKS = b"2\r\n{}\r\n0\r\n\r\n"
SMUGGLED = b"0\r\n\r\n" + request(b'{"smuggled":1}')
REFUSED = {
    "both a length and chunks": request(SMUGGLED, "Content-Length: 5", "Transfer-Encoding: chunked"),
    "chunks and a length": request(SMUGGLED, "Transfer-Encoding: chunked", "Content-Length: 5"),
    "two lengths": request(b"{}", "Content-Length: 2", "Content-Length: 3"),
    "one length twice": request(b"{}", "Content-Length: 2", "Content-Length: 2"),
    "lengths in a list": request(b"{}", "Content-Length: 2, 2"),
    "a length with a sign": request(b"{}", "Content-Length: +2"),
    "a negative length": request(b"{}", "Content-Length: -1"),
    "a hexadecimal length": request(b"{}", "Content-Length: 0x2"),
    "a length beyond 64 bits": request(b"{}", "Content-Length: 99999999999999999999999"),
    "a space before the colon": request(b"{}", "Content-Length : 2"),
    "an unknown coding": request(CHUNKS, "Transfer-Encoding: xchunked"),
    "chunks not last": request(CHUNKS, "Transfer-Encoding: chunked, identity"),
    "a coding inside chunks": request(CHUNKS, "Transfer-Encoding: gzip, chunked"),
    "chunks twice": request(CHUNKS, "Transfer-Encoding: chunked, chunked"),
    "chunks with a control": request(CHUNKS, "Transfer-Encoding: chunked\x0b"),
    "a folded header": request(CHUNKS, "Transfer-Encoding:\r\n chunked"),
    "two codings": request(CHUNKS, "Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
    "chunks in HTTP/1.0": request(CHUNKS, "Transfer-Encoding: chunked", line="POST / HTTP/1.0"),
    "a chunk's size that is none": request(b"zz\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "a chunk that is longer than it says": request(b"1\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "a NUL in a header": request(b"{}", "X: a\x00b"),
    "no host": b"POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    "line feeds alone": request(b"{}").replace(b"\r\n", b"\n"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 500,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no HTTP at all": b"\xff" * 300,
    "too many headers": request(b"{}", *(f"X{n}: a" for n in range(200))),
    "a long header": request(b"{}", "X: " + "a" * 9000),
    "a long path": request(b"{}", line=f"POST /{'a' * 9000} HTTP/1.1"),
    "endless trailers": request(b"2\r\n{}\r\n0\r\n" + b"Y: y\r\n" * 20_000 + b"\r\n", "Transfer-Encoding: chunked"),
}  # fmt: skip


@pytest.mark.parametrize("shape", REFUSED)
async def test_an_ambiguous_or_broken_request_is_refused_once(shape: str) -> None:
    """With 400, and the connection ends: what stands behind it is never a request."""
    async with serving() as rig:
        answer = await rig.raw(REFUSED[shape] + request(b'{"behind":1}', CLOSE))
        assert statuses(answer) == [400], answer
        assert rig.taken == []
        assert rig.source.counts.requests == {"400": 1}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (
            request(b"5\r\n[1,2,\r\n2\r\n3]\r\n0\r\n\r\n", "Transfer-Encoding: chunked", CLOSE),
            [200],
        ),
        (
            request(
                b"2;name=value\r\n{}\r\n0\r\nX: y\r\n\r\n", "Transfer-Encoding: Chunked", CLOSE
            ),
            [200],
        ),
        (request(b"{}", line="POST / HTTP/1.0"), [200]),
        (request(b"{}", CLOSE, line="POST http://x/ HTTP/1.1"), [200]),
        (b"\r\n\r\n" + request(b"{}", CLOSE), [200]),
        (request(b"{}", CLOSE, line="GET / HTTP/1.1"), [405]),
        (request(b"", CLOSE, line="HEAD / HTTP/1.1"), [405]),
        (request(b"", CLOSE, line="OPTIONS * HTTP/1.1"), [404]),
        (request(b"", CLOSE, line="CONNECT a:1 HTTP/1.1"), [404]),
        (request(b"{}", line="POST / HTTP/2.0"), [505]),
    ],
)
async def test_what_is_right_if_unusual_is_answered(sent: bytes, expected: list[int]) -> None:
    async with serving() as rig:
        assert statuses(await rig.raw(sent)) == expected


async def test_requests_may_follow_each_other_without_waiting() -> None:
    """They are answered in their order, each for itself."""
    async with serving() as rig:
        bodies = [b'{"n":0}', b'[{"n":1},{"n":2}]', b'{"n":3}']
        parts = [request(body) for body in bodies]
        answer = await rig.raw(b"".join(parts) + request(b'{"n":4}', CLOSE))
        assert statuses(answer) == [200] * 4
        assert [int(value[5:6]) for value in rig.values] == [0, 1, 2, 3, 4]


async def test_nothing_follows_a_refusal_on_its_connection() -> None:
    """Who has something to correct begins anew; 429 and 503 leave the connection open."""
    async with serving() as rig:
        answer = await rig.raw(request(b"[") + request(b'{"n":1}'))
        assert statuses(answer) == [400]
        assert rig.taken == []


async def test_a_body_that_turns_out_to_be_broken_is_refused_at_once() -> None:
    """Not when its deadline has passed."""
    async with serving() as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(request(b'5\r\n{"a":\r\n', "Transfer-Encoding: chunked"))
        await rig.wait_for(lambda: rig.source.counts.held_bytes > 0)
        writer.write(b"zz\r\n")
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        assert statuses(answer) == [400]
        assert rig.source.counts.held_bytes == 0


async def test_a_head_has_bounds_whatever_it_is_made_of() -> None:
    """A hundred headers of eight thousand bytes each are as many as may be, and yet too much."""
    async with serving() as rig:
        lines = [f"X{number}: {'a' * 4000}\r\n".encode() for number in range(20)]
        answer = await rig.raw(b"\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\n", *lines)
        assert statuses(answer) in ([431], [])  # [] where the rest was under way already
        assert rig.source.counts.requests == {"431": 1}


BODIES = st.one_of(
    st.binary(max_size=300),
    st.text('{}[]",:\\\n 1tn', max_size=60).map(str.encode),
    st.lists(st.sampled_from([b"{}", b'{"a":1}', b"1", b"x", b"", b"\r"])).map(b"\n".join),
)


@given(
    body=BODIES,
    kind=st.sampled_from([JSON, NDJSON, "text/plain", ""]),
    encoding=st.sampled_from(["", "gzip", "deflate", "zstd", "br"]),
    cut=st.integers(0, 400),
    chunked=st.booleans(),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_body_has_one_status_and_what_is_accepted_is_taken(
    body: bytes, kind: str, encoding: str, cut: int, chunked: bool
) -> None:
    """The number that is accepted is the number of records that go on, each once."""

    async def ask() -> None:
        async with serving() as rig:
            headers = [f"Content-Encoding: {encoding}", CLOSE]
            content = body
            if chunked:
                headers.append("Transfer-Encoding: chunked")
                parts = [part for part in (body[:cut], body[cut:]) if part]
                content = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"
            answer = await rig.raw(request(content, *headers, kind=kind))
            (status,) = statuses(answer)
            assert status in (200, 400, 413, 415), answer
            accepted = answer.endswith(b'{"accepted":%d}' % len(rig.taken))
            assert accepted if status == 200 else not rig.taken
            assert len(set(rig.ids)) == len(rig.taken)
            assert rig.source.counts.held_bytes == 0

    asyncio.run(ask())


@given(sent=st.lists(st.binary(max_size=200), max_size=4), end=st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_bytes_are_answered_or_the_connection_ends(sent: list[bytes], end: bool) -> None:
    """On any connection, in any pieces; the next client is served."""

    async def ask() -> None:
        async with serving(header_s=0.3, body_s=0.3, idle_s=0.3) as rig:
            await rig.raw(*sent, b"\r\n\r\n" if end else b"")
            assert (await rig.post(b"{}")).status_code == 200
            assert len(rig.taken) == 1

    asyncio.run(ask())
