"""How far files were read, in a small file of its own that outlasts a crash."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from enricher.dead_letters.file import sync_folder
from enricher.model import UserError
from enricher.tail.tracked import Tracked

Count = Annotated[int, Field(ge=0)]


class Entry(BaseModel):
    """One file, and the offset up to which all is settled."""

    model_config = ConfigDict(extra="forbid", strict=True)
    path: str
    """With `%` for what no text can hold, as in a URL."""
    device: Count
    inode: Count
    first: str
    turn: Count
    position: Count


class Saved(BaseModel):
    """What a state file holds."""

    model_config = ConfigDict(extra="forbid", strict=True)
    version: Literal[1] = 1
    files: list[Entry]


class State:
    """A state file; only one process at a time may have it.

    Args:
        path: It and its folder are made where they are missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = -1
        self._written: bytes | None = None

    def open(self) -> list[Tracked]:
        """Lock it, and give what it holds. Raises UserError: damaged, not to be had, or in use."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"state: {self._path} is in use by another enricher; end it, or give each a state "
                "of its own"
            ) from None
        except OSError as error:
            raise _unusable(self._path, error) from None
        return read(self._path)

    def save(self, files: Iterable[Tracked]) -> None:
        """Write how far these are settled, where that is new. Raises OSError; the old one stays."""
        data = Saved(files=[_entry(one) for one in files]).model_dump_json().encode() + b"\n"
        if data == self._written:
            return
        new = self._path.with_name(f"{self._path.name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        new.replace(self._path)
        sync_folder(self._path.parent)
        self._written = data

    def close(self) -> None:
        """Let others have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def read(path: Path) -> list[Tracked]:
    """Read a state file; one that is missing holds nothing.

    Raises:
        UserError: it is damaged, which a crash cannot do, or cannot be read.
    """
    try:
        saved = Saved.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unusable(path, error) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UserError(
            f"state: {path} is damaged ({first['msg']}); put a copy in its place, or remove it: "
            "then every file is read again from its start, and what has an id of its own is "
            "written once all the same"
        ) from None
    return [_tracked(one) for one in saved.files]


def _tracked(one: Entry) -> Tracked:
    path = os.fsdecode(unquote_to_bytes(one.path))
    return Tracked(
        (one.device, one.inode), path, path, one.position, one.first, one.turn, one.position
    )


def _entry(one: Tracked) -> Entry:
    device, inode = one.key
    return Entry(
        path=quote_from_bytes(os.fsencode(one.real)),
        device=device,
        inode=inode,
        first=one.first,
        turn=one.turn,
        position=one.committed,
    )


def _unusable(path: Path, error: OSError) -> UserError:
    return UserError(
        f"state: {path} cannot be used ({error.strerror}); name a file in a folder that is "
        "writable and outlasts a restart"
    )
