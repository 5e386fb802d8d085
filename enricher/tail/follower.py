"""Find files, follow them through rotation, and read what is new in them.

All of it is plain calls, made in a thread. A file is known by device and inode: a rename changes
nothing. Where it was truncated, or another one has its inode, its first line or its size tells;
it begins anew then. A file that no path leads to any more is read to its end, for a while longer
in case its writer has not noticed, and is let go.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from enricher.lines import GZIP, RECORDS, fingerprint
from enricher.tail import reading
from enricher.tail.finder import Neighbours, find
from enricher.tail.opened import Opened
from enricher.tail.tracked import Key, Piece, Tracked, first_line
from enricher.waiting import Reminder

log = structlog.get_logger(__name__)

_BYTES = 1 << 20
"""Of one reading, after which the pipeline has its turn."""


class Settings(NamedTuple):
    """What is followed, and how."""

    paths: Sequence[str]
    exclude: Sequence[str] = ()
    max_record_bytes: int = 1 << 20
    max_open_files: int = 256
    let_go_s: float = 60.0
    """How long a file that no path leads to has to be quiet before it is let go."""


@dataclass(slots=True)
class Events:
    """What has happened to files so far."""

    truncated: int = 0
    vanished: int = 0
    """Gone before they were read to their end."""


class Follower:
    """Follows files.

    Args:
        name: Of the source, for the log.
        settings: See `Settings`.
        known: What an earlier run knew.
    """

    def __init__(self, name: str, settings: Settings, known: Iterable[Tracked] = ()) -> None:
        self.files: dict[Key, Tracked] = {one.key: one for one in known}
        self.events = Events()
        self.opened = Opened(settings.max_open_files)
        self.has_begun_anew = False
        """Set when a file began anew: that must outlast a crash before anything of it goes on."""
        self._name, self._settings = name, settings
        self._queue: deque[Tracked] = deque()
        """Files with something new, each once; what was read last stands last."""
        self._reminder = Reminder()

    def look(self) -> None:
        """See what files there are, and what has changed."""
        now = time.monotonic()
        found = find(self._settings.paths, self._settings.exclude)
        for key, (path, status) in found.items():
            one = self.files.get(key)
            if one is None:
                one = self.files[key] = Tracked(key, path, os.path.realpath(path))
            elif one.path != path or one.gone_since is not None:
                one.path, one.real, one.gone_since = path, os.path.realpath(path), None
                one.is_done = False
            one.note(status, now)
        neighbours = Neighbours()
        for key, one in self.files.items():
            if key not in found and not one.is_done:
                self._look_after(one, neighbours, now)
        queued = set(self._queue)
        self._queue += [one for one in self.files.values() if one.has_more and one not in queued]

    def _look_after(self, one: Tracked, neighbours: Neighbours, now: float) -> None:
        """Follow a file that no path leads to any more."""
        one.gone_since = now if one.gone_since is None else one.gone_since
        try:
            status = self.opened.status(one)
            if status is None:
                path = neighbours.find(one.real, one.key)
                if path is None:
                    self._give_up(one)
                    return
                one.path = one.real = path
                status = os.stat(path)  # noqa: PTH116
        except OSError as error:
            self._refuse(one, error)
            return
        one.note(status, now)

    def _give_up(self, one: Tracked) -> None:
        one.is_done = True
        if one.size is None or one.position < one.size:
            self.events.vanished += 1
            log.warning(
                "a file is gone before it was read to its end; let paths match a rotated file's "
                "new name, and delete it later",
                source=self._name,
                path=one.path,
                position=one.position,
                size=one.size,
            )

    def read(self) -> list[Piece]:
        """Read up to 1,000 records or about 1 MiB of what is new, from many files where need be."""
        pieces: list[Piece] = []
        records = size = 0
        while self._queue and records < RECORDS and size < _BYTES:
            one = self._queue.popleft()
            try:
                piece = self._read(one, RECORDS - records)
                one.unreadable = ""
            except FileNotFoundError:  # renamed since: the next look finds it
                continue
            except OSError as error:
                self._refuse(one, error)
                continue
            if piece is not None:
                pieces.append(piece)
                records += len(piece.records)
                size += sum([len(record[0]) for record in piece.records])
            current = self.files.get(one.key)
            if current is not None and current.has_more:
                self._queue.append(current)
        return pieces

    def _read(self, one: Tracked, most: int) -> Piece | None:
        if one.is_done or self.files.get(one.key) is not one:
            return None
        file = self.opened.get(one)
        if one.is_changed or not one.first:
            one.note(os.fstat(file), time.monotonic())
            one.is_changed = False
            if not self._is_same(one, file):
                return None
        if one.position + one.scanned >= (one.size or 0):
            return None
        return reading.lines(one, file, most, self._settings.max_record_bytes)

    def _is_same(self, one: Tracked, file: int) -> bool:
        """Tell whether a file only grew, and can be read."""
        first = first_line(file)
        if not one.first:
            if os.pread(file, len(GZIP), 0) == GZIP:
                raise OSError(0, "it is gzip, which does not grow; leave it out with exclude")
            if first is None:
                one.scanned = (one.size or 0) - one.position
                return False
            one.first = fingerprint(first)
        elif first is None or fingerprint(first) != one.first or (one.size or 0) < one.position:
            self._begin_anew(one)
            return False
        if one.position + one.scanned > (one.size or 0):
            one.scanned = 0
        return True

    def _begin_anew(self, former: Tracked) -> None:
        """Read from its start what was truncated, or took another's inode."""
        now = Tracked(former.key, former.path, former.real, turn=former.turn + 1)
        now.gone_since, now.changed_at, now.size = former.gone_since, former.changed_at, former.size
        self.files[former.key] = now
        self.opened.hand_over(former, now)
        self.events.truncated += 1
        self.has_begun_anew = True
        log.info("a file begins anew", source=self._name, path=now.path, read=former.position)

    def let_go(self) -> list[Piece]:
        """Let go of rotated files that are quiet; gives their last lines that have no newline."""
        now = time.monotonic()
        pieces = []
        for one in self.files.values():
            if one.gone_since is None or one.is_done or one.has_more:
                continue
            if now - max(one.gone_since, one.changed_at) < self._settings.let_go_s:
                continue
            try:
                file = self.opened.get(one)
                piece = reading.rest(one, file, self._settings.max_record_bytes)
            except OSError as error:
                self._refuse(one, error)
                continue
            one.is_done = True
            self.opened.close(one)
            pieces += [piece] if piece else []
        return pieces

    def forget(self) -> None:
        """Forget files that are let go, once all of them is settled."""
        for key, one in list(self.files.items()):
            if one.is_done and not one.mark.outstanding:
                self.opened.close(one)
                del self.files[key]

    def _refuse(self, one: Tracked, error: OSError) -> None:
        self.opened.close(one)
        one.unreadable = error.strerror or str(error)
        if self._reminder.due(f"{one.path}: {one.unreadable}"):
            log.warning(
                "a file cannot be read; it is tried again",
                source=self._name,
                path=one.path,
                reason=one.unreadable,
            )
