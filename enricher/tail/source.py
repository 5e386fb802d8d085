"""Files that are followed, as a source."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from enricher.model import Delivery, Source
from enricher.tail.follower import Follower, Settings
from enricher.tail.reading import printable
from enricher.tail.state import State
from enricher.tail.tracked import Piece
from enricher.waiting import Reminder, happens

log = structlog.get_logger(__name__)

LOOK_S = 0.5
"""Seconds between two looks at what files there are; watches miss bind mounts and links."""
_SAVE_S = 1.0
LAGS = 100
"""Files whose lag is told apart on /metrics, at most."""


@dataclass(slots=True)
class Counts:
    """What metrics and `/status` tell."""

    followed: int
    open_files: int
    unreadable: int
    truncated: int
    """Files that began anew under their inode."""
    vanished: int
    """Files that were gone before they were read to their end."""


class FollowedFiles(Source):
    """Yields lines as they are written, and keeps durably how far all is settled.

    Args:
        name: For logs and metrics.
        settings: See `Settings`.
        state: Where it is kept.
    """

    def __init__(self, name: str, settings: Settings, state: Path) -> None:
        self.name = name
        self._settings = settings
        self._state_path, self._state = state, State(state)
        self._follower = Follower(name, settings)
        self._unsaved: str | None = None
        self._busy = asyncio.Lock()
        """Held while a thread works on the files or the state."""
        self._stopping = asyncio.Event()
        self._saver: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")
        self._reminder = Reminder()

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield what is new until `stop()`. Raises UserError: the state is of no use."""
        known = await asyncio.to_thread(self._state.open)
        self._follower = Follower(self.name, self._settings, known)
        self._saver = asyncio.create_task(self._save_at_intervals())
        told = False
        while not self._stopping.is_set():
            async with self._busy:
                pieces = await asyncio.to_thread(self._read)
                delivery = self._delivery(pieces)
            told = told or self._tell()
            while self._follower.has_begun_anew and not self._stopping.is_set():
                # Its turn is part of the ids of what comes now.
                self._follower.has_begun_anew = not await self.commit()
                if self._follower.has_begun_anew:
                    await happens(self._stopping, _SAVE_S)
            if self._follower.has_begun_anew:
                return
            if delivery.records:
                yield delivery
            elif not pieces:
                await happens(self._stopping, LOOK_S)

    def _read(self) -> list[Piece]:
        follower, now = self._follower, time.monotonic()
        last: list[Piece] = []
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            follower.look()
            last = follower.let_go()
        return last + follower.read()

    def _tell(self) -> bool:
        files = len(self._follower.files)
        log.info("follows files", source=self.name, files=files, state=str(self._state_path))
        if not files:
            log.warning(
                "no file is there yet; what appears is taken up", paths=list(self._settings.paths)
            )
        return True

    def _delivery(self, pieces: Sequence[Piece]) -> Delivery:
        now = time.monotonic()
        spans = [
            (one.file.mark, one.file.mark.deliver(one.begin, one.end - 1, len(one.records), at=now))
            for one in pieces
        ]
        records = [record for one in pieces for record in one.records]

        async def acknowledge() -> None:
            for mark, span in spans:
                mark.settle(span)

        if not records:  # blank lines
            for mark, span in spans:
                mark.settle(span)
        return Delivery(records, acknowledge, sum([len(record[0]) for record in records]))

    @property
    def blocked(self) -> str | None:
        """Why nothing can be read, or kept, at the moment, for readiness."""
        if self._unsaved:
            return f"{self.name}: {self._unsaved}"
        reasons = [one.unreadable for one in list(self._follower.files.values())]
        if reasons and all(reasons):
            return f"{self.name}: none of {len(reasons)} files can be read ({reasons[0]})"
        return None

    @property
    def counts(self) -> Counts:
        """What there is now, and what has happened so far."""
        follower = self._follower
        files = [one for one in list(follower.files.values()) if not one.is_done]
        unreadable = sum(bool(one.unreadable) for one in files)
        events = follower.events
        return Counts(
            len(files), len(follower.opened), unreadable, events.truncated, events.vanished
        )

    def lags(self) -> dict[str, int]:
        """Give the bytes of each file that are not settled; those of many files as `other`."""
        found: dict[str, int] = {}
        for one in list(self._follower.files.values()):
            path = printable(one.path)
            found[path] = found.get(path, 0) + max(0, (one.size or 0) - one.committed)
        kept = dict(heapq.nlargest(LAGS, found.items(), key=lambda item: item[1]))
        if len(found) > len(kept):
            kept["other"] = sum(found.values()) - sum(kept.values())
        return kept

    async def _save_at_intervals(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_S)
            await self.commit()

    async def commit(self) -> bool:
        """Write down how far all is settled; False where that cannot be written."""
        async with self._busy:
            self._follower.forget()
            files = list(self._follower.files.values())
            try:
                await asyncio.to_thread(self._state.save, files)
            except OSError as error:
                self._unsaved = f"{self._state_path} cannot be written ({error.strerror})"
                if self._reminder.due("state"):
                    log.warning("the state cannot be written", source=self.name, why=self._unsaved)
                return False
            self._unsaved = None
            return True

    def stop(self) -> None:
        """Read no more; what is acknowledged still counts until `close()`."""
        self._stopping.set()

    async def close(self) -> None:
        """Write down how far all is settled, and close every file."""
        self.stop()
        if self._saver:
            self._saver.cancel()
            with suppress(asyncio.CancelledError):
                await self._saver
            await self.commit()
        async with self._busy:
            await asyncio.to_thread(self._follower.opened.close_all)
            await asyncio.to_thread(self._state.close)
