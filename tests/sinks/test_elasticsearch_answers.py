"""What the sink does about each answer of Elasticsearch, on a fake that gives them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from enricher.waiting import Backoff

from .documents import NOON, document, documents
from .fake_elasticsearch import (
    CONFLICT,
    SOON,
    Bulk,
    accepted,
    ids,
    items,
    serving,
    sink,
    status,
    until,
)

pytestmark = pytest.mark.asyncio


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


class Late(Backoff):
    """Waits as good as for ever, but for the first attempts."""

    def delay(self, attempt: int, hint_s: float = 0.0) -> float:
        return 0.01 if attempt < 3 else 1000.0


async def test_whoever_gets_through_tells_those_that_are_stuck() -> None:
    """Rights are back: nobody sleeps his long pause out while others write already."""
    refused = [status(401, "security_exception")] * 3
    async with serving(*refused) as fake, sink(fake.url, backoff=Late()) as es:
        stuck = asyncio.create_task(es.write(documents(3)))
        await until(lambda: len(fake.requests) == 3)
        assert es.blocked is not None
        assert await es.write([document(7)]) == []
        assert await asyncio.wait_for(stuck, 10) == []
        assert es.blocked is None
