"""Dead letters in a file of JSON lines; the one that `sinks/dead_letter_file.py` appends to."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from enricher.dead_letters.letter import Letter, Place, from_line
from enricher.dead_letters.queue import Entry, Found
from enricher.model import UserError

_LETTERS = 64
"""Read at a time; each may be as large as a record may be."""


class FileQueue:
    """Reads a file as it was when `scan()` opened it, beside those who append to it.

    It stays open, so that its inode is not given to another. Removals are collected, and done
    by one rewriting in `close()`.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.kept = 0
        self._path = Path(os.path.realpath(path))  # renaming over a link would replace the link
        self._gone: dict[str, int] = {}
        """The byte of the letter that was removed, by `key_of()`."""
        self._file: BufferedReader | None = None
        self._end = 0

    async def scan(self) -> AsyncIterator[list[Found]]:
        """Yield every letter in order; torn lines are passed over.

        Raises:
            UserError: The file cannot be read.
        """
        found: list[Found] = []
        for offset, line in _lines(self._opened(), self._end):
            place = Place(0, offset)
            if letter := from_line(line, place):
                found.append(Found(key_of(letter.pipeline, letter.id), place, letter))
            if len(found) == _LETTERS:
                yield found
                found = []
        yield found

    async def read(self, entries: Sequence[Entry]) -> AsyncIterator[list[Letter]]:
        """Yield the letters of entries, in the order of their places."""
        places = sorted(entry.place for entry in entries)
        for begin in range(0, len(places), _LETTERS):
            yield [self._letter(place) for place in places[begin : begin + _LETTERS]]

    def _opened(self) -> BufferedReader:
        try:
            self._file = self._file or self._path.open("rb")
        except OSError as error:
            raise UserError(f"dead letters: {self.name} cannot be read: {error.strerror}") from None
        self._end = self._end or os.fstat(self._file.fileno()).st_size
        return self._file

    def _letter(self, place: Place) -> Letter:
        file = self._opened()
        file.seek(place.offset)
        letter = from_line(file.readline(), place)
        if letter is None:
            raise UserError(f"dead letters: {self.name} was written over; run the command again")
        return letter

    async def remove(self, entries: Sequence[Entry]) -> None:
        """Note letters to be taken out by `close()`, with earlier ones of their ids."""
        self._gone |= {key_of(entry.pipeline, entry.id): entry.place.offset for entry in entries}

    async def close(self) -> None:
        """Write the file anew without what was removed.

        Raises:
            UserError: It cannot be written; nothing is removed then.
        """
        try:
            if self._gone:
                self._rewrite()
        except OSError as error:
            why = f"{self.name} cannot be written anew: {error.strerror}"
            raise UserError(f"dead letters: {why}; nothing was removed from it") from None
        finally:
            self._gone = {}
            if self._file is not None:
                self._file.close()

    def _rewrite(self) -> None:
        """Put a new file in the old one's place while nobody can append to the old one."""
        with _locked(self._path) as file:
            before = os.fstat(file.fileno())
            if not os.path.samestat(before, os.fstat(self._opened().fileno())):
                raise UserError(
                    f"dead letters: {self.name} was rewritten by another command meanwhile; "
                    "what was settled is still in it: run the command again"
                )
            copy = self._path.with_name(f".{self._path.name}.tmp")
            copy.unlink(missing_ok=True)  # of a command that was killed
            try:
                with copy.open("xb") as new:
                    # Whoever appends must still be able to.
                    os.fchmod(new.fileno(), stat.S_IMODE(before.st_mode))
                    os.fchown(new.fileno(), before.st_uid, before.st_gid)
                    new.writelines(self._kept(file, before.st_size))
                    new.flush()
                    os.fsync(new.fileno())
                copy.replace(self._path)
            finally:
                copy.unlink(missing_ok=True)
            sync_folder(self._path.parent)

    def _kept(self, file: BufferedReader, end: int) -> Iterator[bytes]:
        newer = set()
        for offset, line in _lines(file, end):
            letter = from_line(line)
            key = letter and key_of(letter.pipeline, letter.id)
            if key is None or key not in self._gone:
                yield line
            elif offset > self._gone[key]:
                newer.add(key)
                yield line
        self.kept = len(newer)


def key_of(pipeline: str, name: str) -> str:
    """Give what a letter is told apart by: pipelines that read one input may share a file."""
    return f"{pipeline.partition('@')[0]}@{name}"


@contextmanager
def _locked(path: Path) -> Iterator[BufferedReader]:
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise UserError(f"dead letters: {path} is being rewritten; run the command again")
        yield file


def _lines(file: BufferedReader, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield lines with the byte where each begins, up to an end."""
    offset = 0
    while offset < end:
        file.seek(offset)
        line = file.readline()
        if not line:
            return
        yield offset, line
        offset += len(line)


def sync_folder(folder: Path) -> None:
    """Make a new file's name durable, not only its content."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
