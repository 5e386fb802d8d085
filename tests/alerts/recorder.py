"""Matches, and a sender that notes what it is given, for the tests of alerts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson

from enricher.alerts.digest import Digest, Hit


def hit(number: int = 0, *, at: float = 0.0, **event: Any) -> Hit:
    """Make a match of the record with this number."""
    record_id = f"logs-0-{number}-0"
    body = orjson.dumps({"n": number, **event})
    return Hit("Fraud", f"risk {number}", body, record_id, "logs", record_id, at)


class Recorder:
    """A sender that takes what it is given, unless told otherwise; there is no server behind it."""

    def __init__(self) -> None:
        self.digests: list[Digest] = []
        self.attempts = 0
        self.closed = 0
        self.answer: Callable[[Digest], None] = lambda _: None
        """Raises for what is not to be taken."""
        self.answering = asyncio.Event()
        """Cleared: it hangs, as a black hole does."""
        self.answering.set()

    async def send(self, digest: Digest) -> None:
        self.attempts += 1
        await self.answering.wait()
        self.answer(digest)
        self.digests.append(digest)

    async def close(self) -> None:
        self.closed += 1
