"""Send what one channel gathers, again and again until it is taken or too old."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog

from enricher.alerts.channel import Channel, Fingerprint
from enricher.alerts.compiled import Terms
from enricher.alerts.digest import Digest, Hit, Refused, Sender
from enricher.alerts.told import Told
from enricher.model import Alert, Unavailable
from enricher.waiting import Backoff, Notice, end, happens, pause

log = structlog.get_logger(__name__)

SEND_S = 120.0
"""Seconds that one attempt may take, whatever time-outs a sender has of its own."""


class Courier:
    """One alert's way to one kind of sender: its channel, and a task that sends.

    Each has a task of its own, so that a server that hangs holds up nothing else.

    Args:
        name: Of the alert and the kind of sender, for people.
        channel: Gathers the matches.
        terms: How they are told.
        told: Where it is noted what was told; None where there is no Redis.
    """

    def __init__(self, name: str, channel: Channel, terms: Terms, told: Told | None = None) -> None:
        self.name = name
        self.channel = channel
        self.blocked: str | None = None
        """Why it could not be sent last time; None where it was."""
        self.failures = 0
        """Attempts that failed."""
        self.on_unchecked: Callable[[], object] = bool
        self._terms = terms
        self._told = told
        self._former: list[Sender] = []
        self._news = asyncio.Event()
        self._closing = asyncio.Event()
        self._notice = Notice()
        self._backoff = Backoff(base_s=1.0, cap_s=60.0)

    def take(self, hit: Hit, alert: Alert) -> None:
        """Note a match."""
        self.channel.take(self._terms.hash(alert.fingerprint or hit.record_id), hit)
        if self.channel.unchecked:
            self.on_unchecked()
        self._news.set()

    def checked(self, count: int, told: Collection[Fingerprint]) -> None:
        """Go on with the first `count` matches that were looked up; others have told some."""
        self.channel.checked(count, told)
        self._news.set()

    def change(self, terms: Terms) -> None:
        """Tell by other terms from now on."""
        self._former.append(self._terms.sender)
        self._terms = terms
        self.channel.rules = terms.rules
        self._news.set()

    def finish(self) -> None:
        """Make `run()` send at once what there is, and end."""
        self.channel.checked(len(self.channel.unchecked), ())
        self._closing.set()
        self._news.set()

    async def run(self) -> None:
        """Send what is due, until told to finish."""
        while True:
            self._news.clear()
            digest = self.channel.depart(at_once=self._closing.is_set())
            if digest is not None:
                await self._deliver(digest)
            elif self._closing.is_set():
                return
            else:
                await happens(self._news, self.channel.due_in_s())
            while self._former:
                await end(self._former.pop().close)

    async def _deliver(self, digest: Digest) -> None:
        attempt = 0
        while (error := await self._attempt(digest)) is not None:
            attempt += 1
            self.failures += 1
            self.blocked = f"{self.name} cannot be sent: {error}"
            self._notice.error(f"{self.blocked}; retrying")
            delay_s = self._backoff.delay(attempt, error.retry_after_s)
            if delay_s >= self.channel.time_left_s:
                self._note_drop(self.channel.gave_up("expired"), str(error))
                return
            if await pause(delay_s, self._closing):
                attempt = 0

    async def _attempt(self, digest: Digest) -> Unavailable | None:
        """Send once. Returns why it has to be sent again; None where nothing is left to do."""
        try:
            async with asyncio.timeout(SEND_S):
                await self._terms.sender.send(digest)
        except Unavailable as error:
            return error
        except TimeoutError:
            return Unavailable(f"no answer within {SEND_S:.0f} s")
        except Refused as error:
            self.blocked = f"{self.name} is refused: {error}"
            self._note_drop(self.channel.gave_up("refused"), str(error))
            return None
        except Exception as error:  # noqa: BLE001 - a sender's bug; its text may hold a secret
            return Unavailable(f"unexpected {type(error).__name__}")
        self.blocked = None
        told = self.channel.arrived()
        if self._told:
            await self._told.mark(told, self.channel.rules.repeat_after_s)
        return None

    def _note_drop(self, count: int, why: str) -> None:
        self._notice.error(f"{self.name} drops a message: {why}")
        log.info("alerts dropped", alert=self.name, matches=count)

    async def close(self) -> None:
        """Free the connection; what is left is dropped, and counted."""
        if count := self.channel.abandon("stopped"):
            log.error("alerts dropped at the end", alert=self.name, matches=count)
        for sender in (self._terms.sender, *self._former):
            await end(sender.close)
