"""Webhooks to a real HTTP server: what is posted, what is sent again, what is refused for good."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from enricher import document, fields
from enricher.alerts.digest import Digest, Refused
from enricher.alerts.webhook import WebhookSender, WebhookTarget
from enricher.model import Unavailable, UserError

from .matches import EVENT, digest
from .test_mail import texts

MARK = "hunter2marker"
PATH = f"/services/T0/{MARK}"
SLACK_BODY: dict[str, Any] = {
    "text": "{$summary} {$more}",
    "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "*{$alert}* {user_id}"}}],
}
authority = trustme.CA()


@dataclass
class Hook:
    """A server that answers as the test says, one answer for each request; then 200."""

    answers: list[Any] = field(default_factory=list)
    seen: list[tuple[web.BaseRequest, bytes]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append((request, await request.read()))
        answer = self.answers.pop(0) if self.answers else 200
        if callable(answer):
            response: web.StreamResponse = await answer(request)
            return response
        return web.Response(status=answer) if isinstance(answer, int) else answer

    @property
    def bodies(self) -> list[Any]:
        """Give what was posted, read as JSON."""
        return [json.loads(body) for _, body in self.seen]


@asynccontextmanager
async def hook(*answers: Any, tls: ssl.SSLContext | None = None) -> AsyncIterator[Hook]:
    """Run a server on a free port of loopback."""
    running = Hook(list(answers))
    server = web.ServerRunner(web.Server(running.answer), shutdown_timeout=0.1)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0, ssl_context=tls).start()
    running.url = f"http{'s' if tls else ''}://127.0.0.1:{server.addresses[0][1]}{PATH}"
    try:
        yield running
    finally:
        await server.cleanup()


def target(url: str, **settings: Any) -> WebhookTarget:
    return WebhookTarget.model_validate({"url": url, **settings})


@asynccontextmanager
async def sender(url: str, **settings: Any) -> AsyncIterator[WebhookSender]:
    made = target(url, **{"timeout_s": 20} | settings).build(None, None, "payments")
    try:
        yield made
    finally:
        await made.close()


async def post(told: Digest, **settings: Any) -> Any:
    """Give what one digest becomes."""
    async with hook() as server, sender(server.url, **settings) as made:
        await made.send(told)
        return server.bodies[0]


def written(told: Digest, **settings: Any) -> Any:
    """Give the same without a server."""
    made = target("http://localhost/", **settings).build(None, None, "payments")
    return json.loads(made._write(told))


async def test_the_body_that_any_program_can_read() -> None:
    async with hook() as server, sender(server.url) as made:
        for _ in range(2):
            await made.send(digest(EVENT, EVENT | {"amount": 5}, count=943))
        request, _ = server.seen[0]
        first, again = server.bodies
    assert first == again == {
        "id": first["id"],
        "pipeline": "payments",
        "alert": "HighRiskTransaction",
        "summary": "HIGH RISK",
        "count": 943,
        "first_at": "2025-10-20T22:40:00.000+00:00",
        "last_at": "2025-10-20T22:55:42.000+00:00",
        "matches": [
            {
                "summary": "HIGH RISK",
                "record_id": "id-0",
                "at": "2025-10-20T22:40:00.000+00:00",
                "event": EVENT,
            },
            {
                "summary": "HIGH RISK",
                "record_id": "id-1",
                "at": "2025-10-20T22:40:01.000+00:00",
                "event": EVENT | {"amount": 5},
            },
        ],
    }  # fmt: skip
    assert request.method == "POST"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Idempotency-Key"] == f'"{first["id"]}"'


async def test_method_headers_and_token() -> None:
    settings = {"method": "PUT", "headers": {"X-Api-Key": MARK}, "bearer_token": f"t-{MARK}"}
    async with hook() as server, sender(server.url, **settings) as made:
        await made.send(digest())
        request, _ = server.seen[0]
    assert (request.method, request.path) == ("PUT", PATH)
    assert request.headers["X-Api-Key"] == MARK
    assert request.headers["Authorization"] == f"Bearer t-{MARK}"


async def test_a_body_of_the_authors() -> None:
    """The structure is his; a text that is one field keeps its type, what is missing is null."""
    body = {
        "title": "{$alert}: ₹{amount}",
        "amount": "{amount}",
        "indicators": "{fraud_indicators}",
        "missing": "{missing}",
        "count": "{$count}",
        "more": "{$more}",
        "nested": [{"{key}": "{missing} {{}}"}, 5, True, None, "user"],
    }
    assert await post(digest(EVENT, EVENT, count=943), body=body) == {
        "title": "HighRiskTransaction: ₹84999.5",
        "amount": 84999.5,
        "indicators": ["night transaction", "high amount (enterprise)"],
        "missing": None,
        "count": 943,
        "more": "and 942 more",
        "nested": [{"{key}": "– {}"}, 5, True, None, "user"],
    }


async def test_the_example_for_slack_in_the_reference() -> None:
    """As it is documented: it parses, fills in, and has the shape that Slack takes."""
    [text] = [one for one in fields.description(WebhookTarget).split("\n\n") if one.startswith("`")]
    body = document.parse(text.strip("`"), "example").value
    got = await post(digest(EVENT, count=943), body=body, escape="slack")
    section = got["blocks"][0]
    assert got["text"] == "HIGH RISK and 942 more"
    assert (section["type"], section["text"]["type"]) == ("section", "mrkdwn")
    assert section["text"]["text"] == "*HighRiskTransaction* and 942 more, ₹84999.5, user u-204381"


@pytest.mark.parametrize("attack", ["<!channel>", "<@U1>", "<https://evil.example|Bank>", "&lt;", "a\n*b*"])  # fmt: skip
def test_no_event_mentions_a_channel_or_forges_a_link(attack: str) -> None:
    told = digest(EVENT | {"user_id": attack}, summary=attack)
    got = written(told, body=SLACK_BODY, escape="slack")
    safe = attack.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
    assert got["text"] == f"{safe} "
    assert got["blocks"][0]["text"]["text"] == f"*HighRiskTransaction* {safe}"


def test_slack_is_known_by_its_host() -> None:
    """Unless the author says otherwise."""
    told = digest(EVENT | {"user_id": "<!here>"})
    for url, escape, safe in (
        ("https://hooks.slack.com/services/x", None, True),
        ("https://hooks.slack.com/services/x", "none", False),
        ("https://hooks.slack.com.example.org/x", None, False),
        ("https://chat.example.com/x", "slack", True),
    ):
        made = target(url, body={"text": "{user_id}"}, escape=escape).build(None, None, "p")
        assert json.loads(made._write(told))["text"] == ("&lt;!here&gt;" if safe else "<!here>")


def test_long_values_do_not_make_slack_refuse_an_alert() -> None:
    """A section holds 3,000 characters: whoever writes much must not silence the alert."""
    event = {f"f{number}": "<" * 100_000 for number in range(20)}
    body = {"text": "".join(f"{{f{number}}}" for number in range(20))}
    assert len(written(digest(event), body=body, escape="slack")["text"]) < 3_000


@given(texts, st.lists(texts, max_size=3))
def test_values_stay_values_whatever_they_hold(value: str, items: list[str]) -> None:
    """JSON is written by structure: no text becomes a field, nor ends one."""
    value = value.encode(errors="replace").decode()  # a document has no half characters
    items = [one.encode(errors="replace").decode() for one in items]
    told = digest({"v": value, "l": items})
    body = {"v": "{v}", "l": "{l}", "t": "<{v}>", "end": 1}
    got = written(told, body=body)
    short = value if len(value) <= 2_000 else f"{value[:1_999]}…"
    assert got["v"] == short
    assert got["t"] == f"<{short or '–'}>"
    assert got["end"] == 1
    assert list(got) == list(body)
    assert written(told)["matches"][0]["event"] == {"v": value, "l": items}
    assert list(written(told, body=body, escape="slack")) == list(body)


def test_a_body_is_bounded() -> None:
    """A match whose event is too large is told without it, the next one with it; none is missing."""
    large, small = {"v": "x" * 300_000}, {"v": 1}
    got = written(digest(large, small, *[{"v": "y" * 100_000}] * 8, count=943))
    events = [match["event"] and len(match["event"]) for match in got["matches"]]
    assert events == [None, 1, 1, 1, *[None] * 6]
    assert got["count"] == 943
    body = {"o": "{o}", "t": "{t}"}
    bounded = written(digest({"o": {"a": ["x"] * 100_000}, "t": "t" * 1_000_000}), body=body)
    assert len(json.dumps(bounded)) < 20_000
    assert bounded["o"].endswith("…")


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
        target("https://a/", ca_file=tmp_path / "away.pem").build(None, None, "p")


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
    for url in ("http://localhost:1/", "http://127.0.0.1/", "http://[::1]:8080/", "https://a/x@y/z"):
        target(url)
    target("http://example.com/x", allow_http=True)


@pytest.mark.parametrize(
    "headers",
    [{"a b": "x"}, {"": "x"}, {"A": "x\r\nB: y"}, {"A": "é"}, {"Host": "x"}, {"content-length": "1"}],
)  # fmt: skip
def test_headers_that_cannot_be_set(headers: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        target("https://a/", headers=headers)
