"""What the sink does about each answer of Elasticsearch.

The server here is a fake at the level of the protocol: a real HTTP server on loopback whose
answers the test gives, because a real node cannot be made to give most of them on demand. That a
real node is understood is for tests/integration/test_elasticsearch_sink.py.
"""

from __future__ import annotations

import asyncio
import gzip
import inspect
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from enricher.connections import ElasticsearchConnection
from enricher.model import Document, UserError
from enricher.sinks import elasticsearch_client
from enricher.sinks.elasticsearch import ElasticsearchSink
from enricher.sinks.waiting import Backoff

from .documents import NOON, document, documents

pytestmark = pytest.mark.asyncio

CONFLICT = "version_conflict_engine_exception"
SOON = Backoff(base_s=0.001, cap_s=0.002, longest_hint_s=0.05)

Bulk = list[tuple[dict[str, Any], bytes]]
"""A request's pairs of action and body."""


@dataclass
class Fake:
    """A server whose answers are given by the test, one for each request; then it says yes."""

    answers: list[Callable[[Bulk], Any]] = field(default_factory=list)
    requests: list[list[str]] = field(default_factory=list)
    """The ids of each request."""
    seen: list[web.Request] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)
    url: str = ""

    async def bulk(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        lines = (await request.read()).split(b"\n")
        pairs = [
            (next(iter(orjson.loads(action).values())), body)
            for action, body in zip(lines[:-1:2], lines[1::2], strict=True)
        ]
        self.requests.append([action["_id"] for action, _ in pairs])
        answer = self.answers.pop(0) if self.answers else accepted
        response = answer(pairs)
        if inspect.isawaitable(response):
            response = await response
        if response is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if answer is accepted:
            self.stored.update({action["_id"]: body for action, body in pairs})
        return response

    async def root(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        return self.answers.pop(0)([]) if self.answers else web.json_response({})


def items(pairs: Bulk, *results: tuple[int, str]) -> web.Response:
    """Answer with a status and an error type for each item."""
    said: list[dict[str, Any]] = []
    for (action, _), (status, kind) in zip(pairs, results, strict=True):
        item: dict[str, Any] = {"_id": action["_id"], "status": status}
        if kind:
            item["error"] = {"type": kind, "reason": "because"}
        said.append({"create": item})
    errors = any(kind for _, kind in results)
    return web.json_response({"took": 1, "errors": errors, "items": said})


def accepted(pairs: Bulk) -> web.Response:
    """Accept everything."""
    return items(pairs, *[(201, "")] * len(pairs))


def status(code: int, kind: str = "", **headers: str) -> Callable[[Bulk], web.Response]:
    """Refuse the request as a whole, in the words of Elasticsearch if a type is given."""
    said = {"error": {"type": kind, "reason": "because"}, "status": code} if kind else None
    body = orjson.dumps(said) if said else b"<html>no JSON</html>"
    kind = "application/json" if said else "text/html"
    return lambda _: web.Response(status=code, body=body, content_type=kind, headers=headers)


@asynccontextmanager
async def serving(*answers: Callable[[Bulk], Any]) -> AsyncIterator[Fake]:
    """Run the fake on a free port of loopback."""
    fake = Fake(list(answers))
    app = web.Application()
    app.router.add_post("/_bulk", fake.bulk)
    app.router.add_get("/", fake.root)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1)
    await site.start()
    port = runner.addresses[0][1]
    fake.url = f"http://127.0.0.1:{port}"
    try:
        yield fake
    finally:
        await runner.cleanup()


@asynccontextmanager
async def sink(url: str, **options: Any) -> AsyncIterator[ElasticsearchSink]:
    """Give a sink for this address; it waits for next to no time."""
    settings = {key: options.pop(key) for key in ("api_key", "timeout_s") if key in options}
    connection = ElasticsearchConnection.model_validate({"hosts": url, **settings})
    sink = ElasticsearchSink(connection, backoff=SOON, **options)
    try:
        yield sink
    finally:
        await sink.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the sink does by itself."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def ids(sent: list[Document]) -> list[str]:
    """Give the ids, as the fake sees them."""
    return [each.id for each in sent]


async def test_only_the_items_that_were_refused_for_now_are_sent_again() -> None:
    """429 and 5xx of an item concern that item alone."""
    sent = documents(4)

    def some(pairs: Bulk) -> web.Response:
        return items(pairs, (201, ""), (429, "busy"), (409, CONFLICT), (503, "away"))

    async with serving(some) as fake, sink(fake.url) as es:
        assert await es.write(sent) == []
        assert fake.requests == [ids(sent), ids([sent[1], sent[3]])]
        assert (es.retries, es.conflicts, es.superseded, es.blocked) == (1, 1, 0, None)


async def test_rejected_items_come_back_and_nothing_else_does() -> None:
    """A document that Elasticsearch blames is given back with its words; a late one is fine."""
    sent = [document(1), document(2), document(3, identity="order-1", version=NOON)]

    def some(pairs: Bulk) -> web.Response:
        return items(pairs, (400, "document_parsing_exception"), (201, ""), (409, CONFLICT))

    async with serving(some) as fake, sink(fake.url) as es:
        (rejected,) = await es.write(sent)
        assert rejected.document is sent[0]
        assert (rejected.error, rejected.reason) == ("document_parsing_exception", "because")
        assert (len(fake.requests), es.superseded) == (1, 1)


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
async def test_overloaded_or_broken_server_gets_the_same_ids_again(code: int) -> None:
    """A request that is refused as a whole is repeated until it is answered."""
    sent = documents(3)
    async with serving(*[status(code)] * 5) as fake, sink(fake.url) as es:
        assert await es.write(sent) == []
        assert fake.requests == [ids(sent)] * 6
        assert es.retries == 5


async def test_lost_connection_gets_the_same_ids_again() -> None:
    """After a reset nobody knows what was written, so everything is sent again."""
    sent = documents(3)
    async with serving(lambda _: None, lambda _: None) as fake, sink(fake.url) as es:
        with capture_logs() as logs:
            assert await es.write(sent) == []
        assert fake.requests == [ids(sent)] * 3
        assert es.blocked is None
        assert all("cannot be reached" in line["event"] for line in logs)


async def test_time_out_gets_the_same_ids_again() -> None:
    """A server that does not answer in time is asked again, by us and not by the driver."""
    sent = documents(3)
    release = asyncio.Event()

    async def never(_: Bulk) -> None:
        await release.wait()

    async with serving(never) as fake, sink(fake.url, timeout_s=0.2) as es:
        assert await es.write(sent) == []
        assert fake.requests == [ids(sent)] * 2
        assert es.retries == 1
        release.set()


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"took":1,"errors":false,"items":[]}'])
async def test_answer_that_does_not_match_gets_the_same_ids_again(broken: bytes) -> None:
    """An answer that is not the request's own settles nothing."""
    sent = documents(3)

    def wrong(_: Bulk) -> web.Response:
        return web.Response(body=broken, content_type="application/json")

    async with serving(wrong, wrong) as fake, sink(fake.url) as es:
        assert await es.write(sent) == []
        assert fake.requests == [ids(sent)] * 3


async def test_request_that_is_too_large_is_split() -> None:
    """413: halves, down to the one document that no request can carry."""
    sent = documents(8)
    huge = ids(sent)[5]

    def limited(pairs: Bulk) -> web.Response:
        if any(action["_id"] == huge for action, _ in pairs):
            return status(413)(pairs)
        return accepted(pairs)

    async with serving(*[limited] * 20) as fake, sink(fake.url) as es:
        (rejected,) = await es.write(sent)
        assert rejected.document.id == huge
        assert rejected.error == "request_too_large"
        carried = [
            identity for request in fake.requests if huge not in request for identity in request
        ]
        assert sorted(carried) == sorted(set(ids(sent)) - {huge})
        assert es.retries == 0


@pytest.mark.parametrize("culprit", [0, 5, 7])
async def test_malformed_request_is_bisected(culprit: int) -> None:
    """400: halves, down to the one document that Elasticsearch cannot read."""
    sent = documents(8)
    bad = ids(sent)[culprit]

    def reads(pairs: Bulk) -> web.Response:
        if any(action["_id"] == bad for action, _ in pairs):
            return status(400, "illegal_argument_exception")(pairs)
        return accepted(pairs)

    async with serving(*[reads] * 20) as fake, sink(fake.url) as es:
        (rejected,) = await es.write(sent)
        assert rejected.document.id == bad
        assert rejected.error == "illegal_argument_exception"
        assert len(fake.requests) == 7


@pytest.mark.parametrize(
    "answer",
    [
        status(401, "security_exception"),
        status(403),
        status(404),
        status(400),
        lambda pairs: items(pairs, *[(403, "cluster_block_exception")] * len(pairs)),
        lambda pairs: items(pairs, *[(400, "validation_exception")] * len(pairs)),
        lambda pairs: items(pairs, *[(404, "index_not_found_exception")] * len(pairs)),
    ],
)
async def test_what_is_not_the_documents_fault_is_waited_out(
    answer: Callable[[Bulk], web.Response],
) -> None:
    """No right, a full cluster, a read-only index: a pause that ends by itself, no dead letter."""
    sent = documents(3)
    async with serving(*[answer] * 30) as fake, sink(fake.url) as es:
        with capture_logs() as logs:
            writing = asyncio.create_task(es.write(sent))
            await until(lambda: len(fake.requests) > 3)
            assert es.blocked is not None
            assert "elasticsearch at http://127.0.0.1" in es.blocked
            assert await writing == []
        assert es.blocked is None
        assert len(fake.requests) == 31
        assert [line["log_level"] for line in logs] == ["error"]


async def test_blocked_items_wait_while_the_others_are_settled() -> None:
    """Of a request with blocked items only those, and those to retry, are sent again."""
    sent = documents(4)

    def some(pairs: Bulk) -> web.Response:
        return items(pairs, (403, "security_exception"), (201, ""), (429, "busy"), (400, "bad"))

    async with serving(some) as fake, sink(fake.url) as es:
        assert [each.document for each in await es.write(sent)] == sent[3:]
        assert fake.requests[1] == ids([sent[0], sent[2]])


@pytest.mark.parametrize("date", [False, True])
async def test_retry_after_is_honoured(date: bool) -> None:  # noqa: FBT001
    """The server's own wish, in seconds or as a date, is waited for, up to a limit."""
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    busy = status(429, **{"Retry-After": moment if date else "60"})
    async with serving(busy) as fake, sink(fake.url) as es:
        loop = asyncio.get_running_loop()
        since = loop.time()
        await es.write(documents(1))
        assert loop.time() - since >= SOON.longest_hint_s


async def test_write_can_be_cancelled_while_it_waits() -> None:
    """A shutdown does not wait for a server that is away."""
    async with serving(*[status(401)] * 10_000) as fake, sink(fake.url) as es:
        writing = asyncio.create_task(es.write(documents(3)))
        await until(lambda: es.blocked is not None)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert es.blocked is None


async def test_requests_under_way_are_bounded() -> None:
    """However many batches are written at once, the server sees only so many requests."""
    busy = most = 0

    async def count(pairs: Bulk) -> web.Response:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.002)
        busy -= 1
        return accepted(pairs)

    async with serving(*[count] * 20) as fake, sink(fake.url, concurrency=3) as es:
        await asyncio.gather(*(es.write(documents(2)) for _ in range(20)))
    assert most == 3


async def test_request_says_what_it_is() -> None:
    """Headers, filter and, if wanted, compression are as Elasticsearch 8 and 9 take them."""
    async with serving() as fake, sink(fake.url, compress=True, api_key="c2VjcmV0") as es:
        await es.write(documents(3))
        (request,) = fake.seen
        kind = "application/vnd.elasticsearch+x-ndjson; compatible-with=8"
        assert request.headers["content-type"] == kind
        assert request.headers["accept"] == kind.replace("x-ndjson", "json")
        assert request.headers["authorization"] == "ApiKey c2VjcmV0"
        assert request.headers["content-encoding"] == "gzip"
        assert set(fake.stored) == set(ids(documents(3)))
        assert "items.*._id" in request.query["filter_path"]


async def test_compressed_body_is_gzip() -> None:
    """Any gzip reader understands it."""
    assert gzip.decompress(elasticsearch_client._gzip(b"abc" * 999)) == b"abc" * 999  # noqa: SLF001


async def test_start_waits_for_a_server_that_is_away() -> None:
    """Started first, the sink waits, says why once, and goes on when the server is there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with sink(f"http://elastic:s3cret@127.0.0.1:{port}") as es:
        with capture_logs() as logs:
            opening = asyncio.create_task(es.open())
            await until(lambda: es.blocked is not None)
            await asyncio.sleep(0.05)
            assert es.blocked == (
                f"elasticsearch at http://127.0.0.1:{port} cannot be reached "
                "(connection refused); retrying; check connections.elasticsearch.hosts"
            )
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        assert len(logs) == 1
        assert "s3cret" not in str(logs)


async def test_start_waits_for_rights_and_for_a_cluster_that_forms() -> None:
    """401, 429 and 5xx are waited out; any other answer is one (a key may not see the root)."""
    answers = [status(503), status(401, "security_exception"), status(429), status(403)]
    async with serving(*answers) as fake, sink(fake.url) as es:
        await es.open()
        assert len(fake.seen) == 4
        assert es.blocked is None


@pytest.mark.parametrize(
    "url",
    ["http://u:s3cret@localhost", "u:s3cret@localhost:9200", "http://u:s3cret@a b:9200", "s3cret"],
)
async def test_address_that_cannot_be_used_is_the_users_mistake_and_stays_secret(url: str) -> None:
    """The message says how an address looks; it repeats no password."""
    connection = ElasticsearchConnection.model_validate({"hosts": url})
    with pytest.raises(UserError, match="https://localhost:9200") as caught:
        ElasticsearchSink(connection)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "s3cret" not in repr(connection)


async def test_missing_template_folder_is_the_users_mistake(tmp_path: Path) -> None:
    """A folder that is not there is said at once, and not waited for."""
    async with serving() as fake, sink(fake.url, template_folders=[tmp_path]) as es:
        with pytest.raises(UserError, match="no such folder"):
            await es.open()
