"""Let signals wait that come before anybody listens, instead of killing a process that starts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_HELD = (signal.SIGTERM, signal.SIGHUP)


def hold() -> None:
    """Let SIGTERM and SIGHUP wait; a program that is started now begins like that, too."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)


def release() -> None:
    """Take what has come meanwhile, and whatever comes."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)


@contextmanager
def held() -> Iterator[None]:
    """Hold them meanwhile."""
    hold()
    try:
        yield
    finally:
        release()
