"""Tell systemd how the service is, where it asks to be told (NOTIFY_SOCKET): sd_notify(3)."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import structlog

log = structlog.get_logger(__name__)

EVERY_S = 1.0
"""How often readiness is looked at, in seconds; the watchdog may want it more often."""
_PATIENCE_US = 30_000_000
"""While servers are waited for, a start takes as long as it takes: so much more each time."""


def wanted() -> bool:
    """Tell whether somebody listens."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def send(*states: str) -> bool:
    """Send states such as `READY=1`; tells whether they were taken, by nobody for one."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.settimeout(0)
            client.sendto("\n".join(states).encode(), address)
    except OSError as error:
        log.debug("NOTIFY_SOCKET cannot be written to", socket=path, error=str(error))
        return False
    return True


@contextmanager
def reloading() -> Iterator[None]:
    """Say that a reload begins, and that it is over."""
    send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    try:
        yield
    finally:
        send("READY=1")


def watchdog_s() -> float | None:
    """Give the seconds within which the watchdog wants to hear of this process, if it does."""
    pid = os.environ.get("WATCHDOG_PID", "")
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 1e6


async def report(reasons: Callable[[], Sequence[str]], stopping: asyncio.Event) -> None:
    """Report until cancelled: ready once there are no reasons why not, then stopping.

    It runs on the event loop, so that the watchdog hears nothing from a loop that hangs.
    """
    watchdog = watchdog_s()
    every_s = min(EVERY_S, watchdog / 3) if watchdog else EVERY_S
    ready = stopped = False
    while True:
        why = "; ".join(reasons())
        states = [f"STATUS={why or 'running'}"] + (["WATCHDOG=1"] if watchdog else [])
        stops, starts = stopping.is_set() and not stopped, not ready and not stopping.is_set()
        if stops:
            states.append("STOPPING=1")
        elif starts:
            states.append(f"EXTEND_TIMEOUT_USEC={_PATIENCE_US}" if why else "READY=1")
        if send(*states):
            stopped, ready = stopped or stops, ready or (starts and not why)
        with suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await (asyncio.sleep(every_s) if stopping.is_set() else stopping.wait())
