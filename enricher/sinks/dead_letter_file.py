"""Keep dead letters in a file: one line of JSON each, on disk before anything is acknowledged."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from enricher.histogram import Histogram
from enricher.model import DeadLetter, Record, UserError
from enricher.waiting import Backoff, Notice


class DeadLetterFile:
    """Appends dead letters, with one fsync a batch.

    A record that fails again after a replay of the input is written again under the same id;
    readers take the last. Several processes may append to one file.
    """

    def __init__(self, path: Path, *, backoff: Backoff | None = None) -> None:
        """Prepare, without touching the file.

        Args:
            path: it and its folder are made by `open()`; only its owner may read it, since it
                holds the records as they came.
            backoff: how long to wait while the disk is full.
        """
        self.pipeline = ""
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
        self._torn = False

    async def open(self) -> None:
        """Open the file, and end a last line that a crash has torn.

        Raises:
            UserError: the file cannot be opened.
        """
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            size = os.fstat(self._file).st_size
            self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"
            if self._torn:
                self._append(b"")
            _sync_folder(self._path.parent)
        except OSError as error:
            raise UserError(
                f"dead letters: {self._path} cannot be opened: {error.strerror}"
            ) from None

    async def write(self, letters: list[DeadLetter]) -> None:
        """Return once every letter is on disk; a full disk is waited for."""
        data = b"".join(_line(letter) for letter in letters)
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
            # What a failed attempt left behind is ended, not cut off: another process may have
            # appended since.
            rest = memoryview(b"\n" + data if self._torn else data)
            self._torn = True
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
            self._torn = False

    async def close(self) -> None:
        """Close the file, once a write under way has ended."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the letters of a file in order, passing over torn lines.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as lines:
        for line in lines:
            try:
                entry = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(entry, dict) and "id" in entry:
                yield entry


def letter(entry: dict[str, Any]) -> DeadLetter:
    """Give back the dead letter of an entry that `read()` yielded, for a replay.

    Raises:
        KeyError: a field is missing.
    """
    record = Record(
        value=_bytes(entry, "value") or b"",
        id=entry["id"],
        timestamp=entry["timestamp"],
        stream=entry["stream"],
        position=entry["position"],
        key=_bytes(entry, "key"),
    )
    return DeadLetter(record, entry["stage"], entry["error"], entry["reason"])


def _line(letter: DeadLetter) -> bytes:
    record = letter.record
    entry = {
        "id": record.id,
        "stage": letter.stage,
        "error": letter.error,
        "reason": letter.reason,
        "stream": record.stream,
        "position": record.position,
        "timestamp": record.timestamp,
        **_text("key", record.key),
        **_text("value", record.value),
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)


def _text(name: str, value: bytes | None) -> dict[str, str | None]:
    if value is None:
        return {name: None}
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}


def _bytes(entry: dict[str, Any], name: str) -> bytes | None:
    if (encoded := entry.get(f"{name}_base64")) is not None:
        return base64.b64decode(encoded)
    text: str | None = entry[name]
    return None if text is None else text.encode()


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable, not only its content."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
