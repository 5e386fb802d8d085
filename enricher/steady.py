"""Read a file that others may be writing: one whole state of it, or nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """Open a file for as long as it takes to read it.

    Raises:
        OSError: where it cannot be opened, or is no regular file, which might never end; at the
            end where it was written meanwhile. A file renamed over it does no harm.
    """
    with open(file, "rb", opener=_without_waiting) as handle:
        before = os.fstat(handle.fileno())
        if not stat.S_ISREG(before.st_mode):
            raise OSError("it is no regular file")
        yield handle
        after = os.fstat(handle.fileno())
        if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
            raise OSError(
                "it changed while it was read: write a new file beside it, and rename that over it"
            )


def _without_waiting(name: str, flags: int) -> int:
    """Open even a pipe at once; it would wait for a writer."""
    return os.open(name, flags | os.O_NONBLOCK)
