"""Webhooks to a real HTTP server: what is taken, what is sent again, what is refused for good."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from email.utils import formatdate
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from pydantic import ValidationError

from enricher.alerts.digest import Refused
from enricher.model import Unavailable, UserError

from .digests import digest
from .hook import MARK, PATH, hook, sender, target

authority = trustme.CA()


async def test_method_headers_and_token() -> None:
    settings = {"method": "PUT", "headers": {"X-Api-Key": MARK}, "bearer_token": f"t-{MARK}"}
    async with hook() as server, sender(server.url, **settings) as made:
        await made.send(digest())
        request, _ = server.seen[0]
    assert (request.method, request.path) == ("PUT", PATH)
    assert request.headers["X-Api-Key"] == MARK
    assert request.headers["Authorization"] == f"Bearer t-{MARK}"


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_every_2xx_is_taken(status: int) -> None:
    async with hook(status) as server, sender(server.url) as made:
        await made.send(digest())
        assert len(server.seen) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 408, 425, 429, 500, 502, 503, 504])
async def test_what_may_be_taken_later(status: int) -> None:
    async with hook(status) as server, sender(server.url) as made:
        with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:[0-9]+ answered {status}"):
            await made.send(digest())
        await made.send(digest())
        assert server.bodies[0] == server.bodies[1]


@pytest.mark.parametrize("status", [400, 405, 410, 413, 415, 422])
async def test_what_blames_the_body_is_refused_for_good(status: int) -> None:
    answer = web.Response(status=status, text="invalid_blocks\nsecond \u202e line")
    async with hook(answer) as server, sender(server.url) as made:
        with pytest.raises(Refused, match=f"answered {status}: invalid_blocks second \ufffd line$"):
            await made.send(digest())
        await made.send(digest())


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        ("-7", 0, 0),
        ("soon", 0, 0),
        ("9" * 400, 0, 0),
        (formatdate(time.time() + 3_600, usegmt=True), 3_000, 3_600),
        (formatdate(0, usegmt=True), 0, 0),
    ],
)
async def test_retry_after_is_handed_on(header: str, least: float, most: float) -> None:
    answer = web.Response(status=429, headers={"Retry-After": header})
    async with hook(answer) as server, sender(server.url) as made:
        with pytest.raises(Unavailable) as caught:
            await made.send(digest())
        assert least <= caught.value.retry_after_s <= most


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    """The alert goes nowhere else, and the text does not say where it should have gone."""
    async with hook() as elsewhere:
        answer = web.Response(status=status, headers={"Location": elsewhere.url})
        async with hook(answer) as server, sender(server.url) as made:
            with pytest.raises(Unavailable, match="redirects are not followed") as caught:
                await made.send(digest())
        assert elsewhere.seen == []
        assert MARK not in str(caught.value)


async def test_secrets_are_in_no_text(caplog: pytest.LogCaptureFixture) -> None:
    """Not even where the server repeats them, or a library would log them."""
    settings = {"headers": {"X-Key": f"k-{MARK}"}, "bearer_token": f"t-{MARK}"}

    async def echo(request: web.BaseRequest) -> web.Response:
        said = f"{request.path} {request.headers['X-Key']} {request.headers['Authorization']}"
        return web.Response(status=400, text=said)

    caplog.set_level(logging.DEBUG)
    async with hook(echo, 500, 200) as server, sender(server.url, **settings) as made:
        with pytest.raises(Refused, match=r"answered 400: \*\*\* \*\*\* Bearer \*\*\*") as refused:
            await made.send(digest())
        with pytest.raises(Unavailable) as unavailable:
            await made.send(digest())
        await made.send(digest())
        shown = f"{refused.value} {unavailable.value} {made._target!r} {made._target.model_dump()}"
    ours = [one for one in caplog.records if one.name.startswith(("httpx", "httpcore"))]
    assert ours == []
    assert MARK not in shown


async def test_an_answer_is_read_no_further_than_needed() -> None:
    """An endless one ends when its beginning is read; a packed one stays packed."""

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(status=400, headers={"Content-Encoding": "gzip"})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65_536)
        except ConnectionError:
            pass
        return response

    async with hook(endless) as server, sender(server.url) as made:
        with pytest.raises(Refused) as caught:
            await made.send(digest())
        assert len(str(caught.value)) < 300


async def test_an_answer_that_never_ends_in_time() -> None:
    """Nothing at all, or a byte now and then: after `timeout_s` it is sent again."""

    async def silent(_: web.BaseRequest) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x")
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass
        return response

    async with hook(silent, slow) as server, sender(server.url, timeout_s=0.5) as made:
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"did not answer within 0\.5 s"):
                await made.send(digest())
        await made.send(digest())
        assert len({request.headers["Idempotency-Key"] for request, _ in server.seen}) == 1


async def test_a_server_that_is_away_or_breaks_off() -> None:
    async def abort(request: web.BaseRequest) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with hook(abort) as server, sender(server.url) as made:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await made.send(digest())
        await made.send(digest())
        url = server.url
    async with sender(url) as made:
        with pytest.raises(Unavailable, match=r"cannot be reached \(connection refused\)"):
            await made.send(digest())
    async with sender("https://nobody.invalid/x") as made:
        with pytest.raises(Unavailable, match=r"nobody\.invalid cannot be reached \(its name"):
            await made.send(digest())


async def test_certificates_are_checked(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    for name, settings, is_trusted in (
        ("127.0.0.1", {"ca_file": ca_file}, True),
        ("127.0.0.1", {}, False),
        ("example.com", {"ca_file": ca_file}, False),
        ("example.com", {"verify_certificates": False}, True),
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        async with hook(tls=context) as server, sender(server.url, **settings) as made:
            if is_trusted:
                await made.send(digest())
                continue
            with pytest.raises(Unavailable, match="its certificate is not trusted"):
                await made.send(digest())
            assert server.seen == []
    with pytest.raises(UserError, match=r"webhook\.ca_file: .*away\.pem cannot be read"):
        target("https://a/", ca_file=tmp_path / "away.pem").build("p")


async def test_many_at_a_time_and_after_closing() -> None:
    """One sender may be asked for several digests at once; once closed, it opens anew."""
    async with hook() as server, sender(server.url) as made:
        await asyncio.gather(*(made.send(digest(alert=f"A{number}")) for number in range(20)))
        await made.close()
        await made.close()
        await made.send(digest())
        assert len({body["id"] for body in server.bodies}) == 21


@pytest.mark.parametrize(
    "url",
    [
        *("", "a", "ftp://a/b", "https://", "https:///x", "https://a b/", "https://a:99999/", "https://a:0/"),
        *("https://{host}/x", "https://a/{user_id}", "https://a/\r\nX: y", "https://[::1", "https://a/\x7f"),
    ],
)  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValidationError, match="a URL is"):
        target(url)


def test_http_is_for_this_machine() -> None:
    with pytest.raises(ValidationError, match="for all to read") as caught:
        target(f"http://example.com/{MARK}")
    assert MARK not in str(caught.value)
    for url in (
        "http://localhost:1/",
        "http://127.0.0.1/",
        "http://[::1]:8080/",
        "https://a/x@y/z",
    ):
        target(url)
    target("http://example.com/x", allow_http=True)


@pytest.mark.parametrize(
    "headers",
    [{"a b": "x"}, {"": "x"}, {"A": "x\r\nB: y"}, {"A": "é"}, {"Host": "x"}, {"content-length": "1"}],
)  # fmt: skip
def test_headers_that_cannot_be_set(headers: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        target("https://a/", headers=headers)
