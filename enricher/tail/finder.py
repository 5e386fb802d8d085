"""Which files there are."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from glob import iglob

from enricher.tail.tracked import Key, key_of

Found = dict[Key, tuple[str, os.stat_result]]
"""Path and status of each file; of several paths to one file the first."""


def find(paths: Sequence[str], exclude: Sequence[str]) -> Found:
    """Find the files that the patterns match; links are followed, what is no file is passed over.

    Args:
        paths: Patterns; `**` is any number of folders.
        exclude: Patterns of names that are left out.
    """
    found: Found = {}
    for path in matches(paths, exclude):
        try:
            status = os.stat(path)  # noqa: PTH116 - a thousand of them, twice a second
        except OSError:  # gone since, or a link to nowhere
            continue
        if stat.S_ISREG(status.st_mode):
            found.setdefault(key_of(status), (path, status))
    return found


def matches(paths: Sequence[str], exclude: Sequence[str]) -> Iterator[str]:
    """Yield what the patterns match, whatever it is."""
    for pattern in paths:
        for path in sorted(iglob(pattern, recursive=True)):  # noqa: PTH207 - as above
            if not any(fnmatch(os.path.basename(path), name) for name in exclude):  # noqa: PTH119
                yield path


class Neighbours:
    """Files of a folder by their inode, looked up once; names may be any."""

    def __init__(self) -> None:
        self._folders: dict[str, dict[int, str]] = {}

    def find(self, real: str, key: Key) -> str | None:
        """Give where a file lies now that lay at `real`; None where it is nowhere beside that.

        Raises:
            OSError: nobody can tell, for the folder cannot be looked into.
        """
        folder = os.path.dirname(real) or "."  # noqa: PTH120 - of a name that may be no text
        try:
            if folder not in self._folders:
                with os.scandir(folder) as entries:
                    files = {one.inode(): one.path for one in entries if one.is_file()}
                    self._folders[folder] = files
            path = self._folders[folder].get(key[1])
            is_found = path is not None and key_of(os.stat(path)) == key  # noqa: PTH116
        except FileNotFoundError:  # the folder went with it
            return None
        return path if is_found else None
