"""Clients that POST batches over HTTP, and send each again until it is answered 200."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple, Self

import httpx
import orjson

from enricher.generator import generate

from .ledger import SEQUENCE, Entry, unwrapped

CLIENTS = 8
LINES = 100
"""Of a batch; one in so many is broken, and has no id of its own."""
ID_FIELD = "event_id"


class Batch(NamedTuple):
    """What is sent in one request."""

    body: bytes
    key: str
    """Its `Idempotency-Key`."""
    entries: list[Entry]


def batches(count: int, seed: int) -> Iterator[Batch]:
    """Make batches of so many events in all, of the last day; every other event has its own id."""
    since = datetime.now(UTC) - timedelta(days=1)
    events = generate(count, seed, since, days=1)
    sequence = itertools.count()
    while some := list(itertools.islice(events, LINES)):
        key, lines, known = uuid.uuid4().hex, [], []
        for record in some:
            event = unwrapped(orjson.loads(record.value))
            number = event[SEQUENCE] = next(sequence)
            if number % 2:
                event[ID_FIELD] = f"event-{number}"
            value = orjson.dumps(event)
            if number % LINES == LINES // 2:
                value, event = value[:-1], {}
            lines.append(value)
            known.append((number, value, event))
        body = b"\n".join(lines) + b"\n"
        place = f"{key}-{sha256(body).hexdigest()[:8]}"
        yield Batch(body, key, [
            Entry.of("http", 0, line, 0, number, value, event)._replace(
                id=f"http@{event.get(ID_FIELD) or f'{place}-{line}'}")
            for line, (number, value, event) in enumerate(known, 1)
        ])  # fmt: skip


class Clients:
    """Send all batches from a thread of their own; use it as a context manager, which waits.

    Args:
        port: Where to, on loopback; nobody need be there.
        wanted: The batches.
        seed: Of how long they wait before another attempt.
    """

    def __init__(self, port: int, wanted: list[Batch], seed: int) -> None:
        self.outcomes: Counter[str] = Counter()
        """Of attempts: a status, or `none` where the connection ended without an answer."""
        self.settled = 0
        """Batches that were answered 200."""
        self._url = f"http://127.0.0.1:{port}/"
        self._left = iter(wanted)
        self._random = random.Random(seed)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send_all()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    @property
    def are_done(self) -> bool:
        """Whether all was sent."""
        return not self._thread.is_alive()

    def have_settled(self, count: int) -> bool:
        """Tell whether so many batches, or more, were answered 200."""
        return self.settled >= count

    async def _send_all(self) -> None:
        await asyncio.gather(*(self._send() for _ in range(CLIENTS)))

    async def _send(self) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            for batch in self._left:
                while (outcome := await self._attempt(client, batch)) != "200":
                    assert outcome in ("none", "429", "503"), outcome
                    await asyncio.sleep(self._random.uniform(0.05, 0.3))
                self.settled += 1

    async def _attempt(self, client: httpx.AsyncClient, batch: Batch) -> str:
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": batch.key}
        try:
            answer = await client.post(self._url, content=batch.body, headers=headers)
        except httpx.TransportError:
            outcome = "none"
        else:
            outcome = str(answer.status_code)
            assert outcome != "200" or answer.json() == {"accepted": len(batch.entries)}
        self.outcomes[outcome] += 1
        return outcome
