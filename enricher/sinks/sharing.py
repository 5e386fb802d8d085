"""Requests that writers share: what waits for its turn is sent together.

A server indexes a document in a fraction of the time when many come in one request. While none is
under way one goes out at once; what comes meanwhile waits until that is answered, until it is
worth a request of its own, or for a tenth of a second.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

from enricher.model import Document
from enricher.sinks.bulk import Settled
from enricher.sinks.concurrency import Concurrency
from enricher.sinks.elasticsearch_client import Answer

ENOUGH_BYTES = 1 << 20
"""Of documents that wait for no others."""
MOST_BYTES = 4 << 20
"""Of documents of several writers in one request."""
LINGER_S = 0.1
"""From one request to the next beside it, unless there is enough for it."""


class Sent(NamedTuple):
    """What became of documents that were sent."""

    settled: Settled
    answer: Answer | None
    """To the request that they were part of; None: their outcome is unknown."""


@dataclass(slots=True, eq=False)
class _Part:
    """What one writer has to send."""

    documents: list[Document]
    size: int
    alone: bool
    again: bool
    sent: asyncio.Future[Sent]


class Sharing:
    """Sends the documents of many writers in few requests.

    Args:
        post: sends one request; gives the answer of None where there was none.
        most: requests under way at a time.
    """

    def __init__(self, post: Callable[[list[Document]], Awaitable[Sent]], most: int) -> None:
        self._post = post
        self._concurrency = Concurrency(most)
        self._waiting: deque[_Part] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        """Runs for a while after a request."""

    async def send(self, documents: list[Document], *, alone: bool, again: bool) -> Sent:
        """Send documents, `alone` or with those of others; cancelling it recalls none of them.

        What is sent `again` has waited.
        """
        size = sum([len(document.body) for document in documents])
        sent: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        part = _Part(documents, size, alone, again, sent)
        self._waiting.append(part)
        self._go()
        return await part.sent

    async def close(self) -> None:
        """End what waits and what is under way."""
        waiting, self._waiting = self._waiting, deque()
        for part in waiting:
            part.sent.cancel()
        if self._timer:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _go(self) -> None:
        """Send what is due, as far as more requests may be under way."""
        while self._waiting and self._concurrency.is_free and self._is_due():
            parts = self._take()
            if not parts:
                continue
            task = asyncio.create_task(self._run(parts, self._concurrency.begin()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            if self._timer:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._linger_is_over)

    def _is_due(self) -> bool:
        if self._timer is None or not self._concurrency.busy:
            return True
        if any(part.alone or part.again for part in self._waiting):
            return True
        return sum([part.size for part in self._waiting if not part.sent.done()]) >= ENOUGH_BYTES

    def _linger_is_over(self) -> None:
        self._timer = None
        self._go()

    def _take(self) -> list[_Part]:
        """Take what goes into the next request; whose writer has gone is left out."""
        parts: list[_Part] = []
        size = 0
        while self._waiting:
            part = self._waiting[0]
            if parts and (part.alone or parts[0].alone or size + part.size > MOST_BYTES):
                break
            self._waiting.popleft()
            if not part.sent.done():
                parts.append(part)
                size += part.size
        return parts

    async def _run(self, parts: Sequence[_Part], since: float) -> None:
        overloaded = False
        try:
            settled, answer = await self._post(list(chain(*[part.documents for part in parts])))
            overloaded = settled.overloaded or answer is None
            for part, own in zip(parts, divided(settled, parts), strict=True):
                if not part.sent.done():
                    part.sent.set_result(Sent(own, answer))
        except Exception as error:  # noqa: BLE001 - it is the writers'
            for part in parts:
                if not part.sent.done():
                    part.sent.set_exception(error)
        finally:
            self._concurrency.end(since, overloaded=overloaded)
            for part in parts:
                part.sent.cancel()  # where it is not done: this task was cancelled
            self._go()


def divided(settled: Settled, parts: Sequence[_Part]) -> list[Settled]:
    """Give each part what became of its own documents; what is only counted goes to the first."""
    if len(parts) == 1:
        return [settled]
    reason = settled.reason
    if settled.pieces:  # the request as a whole was refused: each part is tried by itself
        return [Settled(pieces=(part.documents,), reason=reason) for part in parts]
    first, *others = (_own(settled, part.documents) for part in parts)
    return [replace(first, conflicts=settled.conflicts, superseded=settled.superseded), *others]


def _own(settled: Settled, documents: Sequence[Document]) -> Settled:
    if not (settled.rejected or settled.retry or settled.blocked):
        return Settled()
    own = {id(document) for document in documents}
    return Settled(
        rejected=[one for one in settled.rejected if id(one.document) in own],
        retry=[one for one in settled.retry if id(one) in own],
        blocked=[one for one in settled.blocked if id(one) in own],
        reason=settled.reason,
        overloaded=settled.overloaded,
    )
