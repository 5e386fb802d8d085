"""Writers share requests: what goes together, and who is told what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest
from aiohttp import web

from enricher.model import Document
from enricher.sinks import sharing

from .documents import document
from .fake_elasticsearch import Bulk, accepted, items, serving, sink, status, until

pytestmark = pytest.mark.asyncio


def one(number: int, size: int = 10) -> list[Document]:
    return [document(number, b'{"n":"%s"}' % (b"x" * size))]


def numbers(requests: list[list[str]]) -> list[list[int]]:
    """Give the offsets of the documents of each request."""
    return [[int(identity.split("-")[2]) for identity in request] for request in requests]


class Held:
    """Answers as another answer does, once it is told to."""

    def __init__(self, answer: object = accepted) -> None:
        self.seen = asyncio.Event()
        self.release = asyncio.Event()
        self._answer = answer

    async def __call__(self, pairs: Bulk) -> web.Response:
        self.seen.set()
        await self.release.wait()
        return self._answer(pairs)  # type: ignore[operator, no-any-return]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A few documents are worth a request."""
    monkeypatch.setattr(sharing, "ENOUGH_BYTES", 10_000)
    monkeypatch.setattr(sharing, "MOST_BYTES", 40_000)
    yield


async def test_what_comes_soon_after_a_request_goes_together() -> None:
    """The first goes at once, in the order of their coming the others follow in one."""
    held = Held()
    async with serving(held) as fake, sink(fake.url) as es:
        writing = [asyncio.create_task(es.write(one(n))) for n in range(5)]
        await held.seen.wait()
        held.release.set()
        assert await asyncio.gather(*writing) == [[]] * 5
        assert numbers(fake.requests) == [[0], [1, 2, 3, 4]]


async def test_nobody_waits_for_a_request_that_hangs() -> None:
    """After a while what waits goes out beside it, as one."""
    held = Held()
    async with serving(held) as fake, sink(fake.url) as es:
        hanging = asyncio.create_task(es.write(one(0)))
        await held.seen.wait()
        await asyncio.gather(es.write(one(1)), es.write(one(2)))
        assert numbers(fake.requests) == [[0], [1, 2]]
        held.release.set()
        await hanging


@pytest.mark.usefixtures("small")
async def test_what_is_worth_a_request_goes_out_beside_others() -> None:
    """Up to the bound of requests, and no request grows beyond its own."""
    busy = most = 0

    async def count(pairs: Bulk) -> web.Response:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.02)
        busy -= 1
        return accepted(pairs)

    size = sharing.ENOUGH_BYTES
    async with serving(*[count] * 20) as fake, sink(fake.url, concurrency=3) as es:
        await asyncio.gather(*(es.write(one(n, size)) for n in range(20)))
    assert most == 3
    sent = numbers(fake.requests)
    assert sorted(n for request in sent for n in request) == list(range(20))
    assert max(map(len, sent)) == sharing.MOST_BYTES // size - 1  # one more would be too much
    assert all(first < second for request in sent for first, second in pairwise(request))


@pytest.mark.usefixtures("small")
async def test_each_writer_is_told_of_its_own_documents() -> None:
    """One is refused, one tried again, one there already: nobody hears of another's."""
    held = Held()

    def mixed(pairs: Bulk) -> web.Response:
        kinds = [(400, "document_parsing_exception"), (429, "es_rejected_execution_exception")]
        kinds += [(409, "version_conflict_engine_exception"), (201, "")]
        return items(pairs, *kinds)

    async with serving(held, mixed) as fake, sink(fake.url) as es:
        writing = [asyncio.create_task(es.write(one(n))) for n in range(5)]
        await held.seen.wait()
        held.release.set()
        first, refused, *others = await asyncio.gather(*writing)
        assert [rejected.document.record.position for rejected in refused] == [1]
        assert [first, *others] == [[]] * 4
        assert numbers(fake.requests) == [[0], [1, 2, 3, 4], [2]]
        assert (es.conflicts, es.retries) == (1, 1)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("code", [413, 400])
async def test_a_request_that_is_refused_is_parted_by_writers(code: int) -> None:
    """What one of them wrote must not be a dead letter of another, nor be cut without need."""
    held = Held()
    kind = "" if code == 413 else "illegal_argument_exception"
    refuse = status(code, kind)

    def unless_alone(pairs: Bulk) -> web.Response:
        offending = [action["_id"] for action, _ in pairs if "-2-" in action["_id"]]
        return refuse(pairs) if offending else accepted(pairs)

    async with serving(held, *[unless_alone] * 20) as fake, sink(fake.url) as es:
        batches = [one(0), [*one(1), *one(2), *one(3)], one(4), one(5)]
        writing = [asyncio.create_task(es.write(batch)) for batch in batches]
        await held.seen.wait()
        held.release.set()
        refused = await asyncio.gather(*writing)
        assert [[r.document.record.position for r in each] for each in refused] == [[], [2], [], []]
        sent = numbers(fake.requests)
        assert sent[:2] == [[0], [1, 2, 3, 4, 5]]
        assert sorted(sent[2:]) == [[1], [1, 2, 3], [2], [2, 3], [3], [4], [5]]


@pytest.mark.usefixtures("small")
async def test_a_writer_that_gives_up_takes_nobody_with_it() -> None:
    """What it wrote and is not yet sent stays unsent; a request that it shares goes on."""
    first, second = Held(), Held()
    async with serving(first, second) as fake, sink(fake.url) as es:
        writing = [asyncio.create_task(es.write(one(n))) for n in range(4)]
        await first.seen.wait()
        writing[1].cancel()
        first.release.set()
        await second.seen.wait()
        writing[2].cancel()
        await asyncio.wait({writing[2]})
        second.release.set()
        assert await writing[3] == []
        assert numbers(fake.requests) == [[0], [2, 3]]
        assert [task.cancelled() for task in writing] == [False, True, True, False]


async def test_closing_ends_what_is_under_way() -> None:
    """Its writers have gone; nothing is left behind."""
    held = Held()
    async with serving(held) as fake, sink(fake.url) as es:
        writing = asyncio.create_task(es.write(one(0)))
        await held.seen.wait()
        writing.cancel()
        await asyncio.wait({writing})
        await es.close()
        own = {task for task in asyncio.all_tasks() if "Sharing" in repr(task)}
        assert not own
        held.release.set()
        await until(lambda: not fake.stored)
