"""Keep dead letters in a file: one line of JSON each, on disk before anything is acknowledged."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from pathlib import Path

from enricher.dead_letters.file import sync_folder
from enricher.dead_letters.letter import Letter, now, to_line
from enricher.histogram import Histogram
from enricher.model import DeadLetter, UserError
from enricher.waiting import Backoff, Notice


class DeadLetterFile:
    """Appends dead letters, with one fsync a batch.

    A record that fails again after a replay of the input is written again under the same id;
    readers take the last. Several processes may append to one file, and `enricher dlq` may put
    another in its place: each append locks it, and first looks whether it is still the same.
    """

    def __init__(self, path: Path, pipeline: str = "", *, backoff: Backoff | None = None) -> None:
        """Prepare, without touching the file.

        Args:
            path: it and its folder are made by `open()`; only its owner may read it, since it
                holds the records as they came.
            pipeline: name and hash of the pipeline, for whoever reads the letters.
            backoff: how long to wait while the disk is full.
        """
        self.pipeline = pipeline
        """Name and hash of the pipeline, for whoever reads the letters; a reload changes it."""
        self.retries = 0
        """Batches that were written again."""
        self.blocked: str | None = None
        """Why nothing can be written at the moment, for readiness."""
        self.latency = Histogram()
        """Of writes with their fsync, in seconds."""
        self._path = path
        self._backoff = backoff or Backoff()
        self._notice = Notice()
        self._lock = threading.Lock()
        self._file = -1

    async def open(self) -> None:
        """Make the file and its folder.

        Raises:
            UserError: the file cannot be opened.
        """
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._reopen()
        except OSError as error:
            raise UserError(
                f"dead letters: {self._path} cannot be opened: {error.strerror}"
            ) from None

    def _reopen(self) -> None:
        former = self._file
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        if former >= 0:
            os.close(former)
        sync_folder(self._path.parent)

    async def write(self, letters: list[DeadLetter]) -> None:
        """Return once every letter is on disk; a full disk is waited for."""
        time = now()
        data = b"".join(to_line(Letter(letter, self.pipeline, time)) for letter in letters)
        attempt = 0
        while True:
            try:
                with self.latency.time():
                    await asyncio.to_thread(self._append, data)
            except OSError as error:
                self.blocked = f"{self._path} cannot be written ({error.strerror}); retrying"
                self._notice.error(self.blocked)
                attempt += 1
                self.retries += 1
                await asyncio.sleep(self._backoff.delay(attempt))
                continue
            self.blocked = None
            return

    def _append(self, data: bytes) -> None:
        with self._lock:
            if self._file < 0:
                raise RuntimeError("the dead-letter file is not open")
            while not self._lock_file():
                self._reopen()
            try:
                # A line that a crash or a full disk has torn is ended, not cut off.
                size = os.fstat(self._file).st_size
                is_torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"
                rest = memoryview(b"\n" + data if is_torn else data)
                while rest:
                    rest = rest[os.write(self._file, rest) :]
                os.fsync(self._file)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _lock_file(self) -> bool:
        """Lock the file; False where another, or none, stands under its name by now."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        except FileNotFoundError:
            return False

    async def close(self) -> None:
        """Close the file, once a write under way has ended."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
