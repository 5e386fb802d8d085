"""systemd is told when the run is ready, reloads, stops, and that its loop turns."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from enricher import notify


class Manager:
    """A datagram socket, as systemd has it."""

    def __init__(self, name: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.settimeout(10)

    def hear(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")

    async def hears(self, state: str) -> list[str]:
        """Give everything that is heard until a state is; it comes with the last."""
        heard: list[str] = []
        async with asyncio.timeout(10):
            while state not in heard:
                heard += await asyncio.to_thread(self.hear)
        return heard


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Manager]:
    name = f"@enricher-{uuid.uuid4().hex}" if request.param == "abstract" else f"{tmp_path}/notify"
    manager = Manager(name)
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with manager.socket:
        yield manager


def test_states_are_sent_as_they_are(manager: Manager) -> None:
    assert notify.wanted()
    notify.send("READY=1", "STATUS=läuft")
    assert manager.hear() == ["READY=1", "STATUS=läuft"]


def test_a_reload_begins_and_ends_also_where_it_fails(manager: Manager) -> None:
    with pytest.raises(RuntimeError), notify.reloading():
        begin = manager.hear()
        raise RuntimeError
    assert begin[0] == "RELOADING=1"
    assert begin[1].removeprefix("MONOTONIC_USEC=").isdecimal()
    assert manager.hear() == ["READY=1"]


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable nothing is done; with a socket that is gone nothing fails."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify.wanted()
    notify.send("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify.send("READY=1")


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        ("", "", None),
        ("0", "", None),
        ("x", "", None),
        ("2000000", "", 2.0),
        ("500000", str(os.getpid()), 0.5),
        ("500000", "1", None),
    ],
)
def test_the_watchdog_of_this_process_counts(
    microseconds: str, pid: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert notify.watchdog_s() == seconds


async def test_ready_once_nothing_hinders_then_stopping(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While servers are waited for the start may take longer; the watchdog hears the loop."""
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    reasons = ["kafka: away", "elasticsearch: away"]
    stopping = asyncio.Event()
    task = asyncio.create_task(notify.report(lambda: reasons, stopping))
    waiting = await manager.hears("STATUS=kafka: away; elasticsearch: away")
    assert "READY=1" not in waiting
    assert {"WATCHDOG=1", "EXTEND_TIMEOUT_USEC=30000000"} <= {*waiting}
    reasons.clear()
    assert "STOPPING=1" not in await manager.hears("READY=1")
    reasons.append("kafka: away")  # later on, it stays up and says why
    assert "READY=1" not in await manager.hears("STATUS=kafka: away")
    stopping.set()
    assert "READY=1" not in await manager.hears("STOPPING=1")
    rest = await manager.hears("WATCHDOG=1")  # during the drain, too
    assert "STOPPING=1" not in rest
    task.cancel()
