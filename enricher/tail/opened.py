"""Descriptors of followed files: a bounded number of them."""

from __future__ import annotations

import errno
import os

from enricher.tail.tracked import Tracked, key_of


class Opened:
    """Opens files as they are read, and closes those that were read longest ago for others.

    Args:
        most: Descriptors at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._descriptors: dict[Tracked, int] = {}
        """Those used last stand last."""

    def __len__(self) -> int:
        return len(self._descriptors)

    def __contains__(self, one: Tracked) -> bool:
        return one in self._descriptors

    def get(self, one: Tracked) -> int:
        """Give a descriptor of it.

        Raises:
            OSError: it cannot be opened; ENOENT where its path leads to another file by now.
        """
        descriptor = self._descriptors.pop(one, None)
        if descriptor is None:
            self._make_room()
            # A pipe that took its place must not hold us up.
            descriptor = os.open(one.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if key_of(os.fstat(descriptor)) != one.key:
                os.close(descriptor)
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), one.path)
        self._descriptors[one] = descriptor
        return descriptor

    def status(self, one: Tracked) -> os.stat_result | None:
        """Look at it through its descriptor; None where it has none."""
        descriptor = self._descriptors.get(one)
        return None if descriptor is None else os.fstat(descriptor)

    def hand_over(self, former: Tracked, now: Tracked) -> None:
        """Let a file that began anew have the descriptor of what it was."""
        if (descriptor := self._descriptors.pop(former, None)) is not None:
            self._descriptors[now] = descriptor

    def close(self, one: Tracked) -> None:
        """Close its descriptor, if it has one."""
        if (descriptor := self._descriptors.pop(one, None)) is not None:
            os.close(descriptor)

    def close_all(self) -> None:
        """Close every descriptor."""
        for one in list(self._descriptors):
            self.close(one)

    def _make_room(self) -> None:
        if len(self._descriptors) >= self._most:
            # One that no path leads to might not be found again.
            found = (one for one in self._descriptors if one.gone_since is None)
            self.close(next(found, next(iter(self._descriptors))))
