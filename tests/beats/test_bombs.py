"""What is sent to exhaust us: the real daemon's memory stays where it was, and others are served."""

from __future__ import annotations

import json
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

from tests.admin_client import get

from . import wire
from .certificates import Certificates
from .daemon import BeatsDaemon, pipeline_of
from .wire import Client

MIB = 1 << 20
ALLOWED = 64 * MIB
SLOW = 1000
EVENTS = 200


class Good:
    """A sender that means well, and another that sends large events: one batch after the other."""

    def __init__(self, daemon: BeatsDaemon, tls: ssl.SSLContext | None) -> None:
        self.acknowledged = 0
        self.sent_away = 0
        self._daemon = daemon
        self._tls = tls
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(size,)) for size in (300, 300_000)
        ]
        self._failures: list[BaseException] = []

    def _send(self, size: int) -> None:
        count = EVENTS if size < 1000 else 4
        number = 0
        try:
            while not self._stopping.is_set():
                try:
                    with Client(self._daemon.port, self._tls) as client:
                        while not self._stopping.is_set():
                            ids = [f"{size}-{number}-{n}" for n in range(count)]
                            events = [
                                {"@metadata": {"_id": one}, "text": "x" * size} for one in ids
                            ]
                            client.send(wire.batch(events, compress=number % 2 == 0))
                            client.wait_for(count)
                            self.acknowledged += count
                            number += 1
                except OSError:
                    self.sent_away += 1
        except BaseException as error:
            self._failures.append(error)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def goes_on(self) -> None:
        """Return once two more batches of each are through."""
        wanted = self.acknowledged + 2 * EVENTS
        end = time.monotonic() + wire.PATIENCE_S
        while self.acknowledged < wanted:
            assert not self._failures, self._failures
            assert time.monotonic() < end, "the good senders are not served"
            time.sleep(0.01)  # between two looks


class Memory:
    """The most memory that a daemon holds, looked at all the time."""

    def __init__(self, daemon: BeatsDaemon) -> None:
        self.most = 0
        self._daemon = daemon
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._stopping.wait(0.005):
            self.most = max(self.most, self._daemon.resident_bytes())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()


class Under(NamedTuple):
    """A daemon under attack."""

    admin: Path

    daemon: BeatsDaemon
    good: Good
    tls: ssl.SSLContext | None

    def refused(self) -> dict[str, int]:
        """Give the refusals by reason."""
        status = json.loads(get(self.admin, "/status")[1])
        found: dict[str, int] = status["sources"]["beats"]["refused"]
        return found

    def attack(self, frames: bytes, times: int = 1) -> None:
        """Send frames over connections of their own, and see each of them ended by the daemon."""
        for _ in range(times):
            with Client(self.daemon.port, self.tls) as client:
                try:
                    client.send(frames)
                except (ConnectionError, ssl.SSLError):
                    continue  # refused before all was sent
                while client.ack() is not None:
                    pass


@contextmanager
def attacked(tmp_path: Path, *, tls: bool, what: str, **settings: Any) -> Iterator[Under]:
    """Run a daemon and good senders meanwhile; at the end its memory has grown by little."""
    fields, context = {}, None
    if tls:
        certificates = Certificates(tmp_path)
        pair, context = certificates.server, certificates.trusting()
        fields = {"certificate_file": str(pair.certificate), "key_file": str(pair.key)}
    pipeline = pipeline_of(tmp_path, tls=fields, read_timeout_s=120, **settings)
    admin = tmp_path / "admin.sock"
    with BeatsDaemon(pipeline, tmp_path, "--admin", f"unix:{admin}") as daemon:
        with Good(daemon, context) as good:
            for _ in range(5):
                good.goes_on()
            with Memory(daemon) as before:
                good.goes_on()
            begin = good.acknowledged
            with Memory(daemon) as during:
                yield Under(admin, daemon, good, context)
                good.goes_on()
        grown = during.most - before.most
        print(
            f"{what}{', TLS' if tls else ''}: {before.most / MIB:.0f} MiB and {grown / MIB:+.1f} MiB, "
            f"{good.acknowledged - begin} good events meanwhile"
        )
        assert grown <= ALLOWED
        assert settings or not good.sent_away
        assert len(daemon.documents()) >= good.acknowledged
        assert "Traceback" not in daemon.text, daemon.text
        daemon.terminate()
        assert daemon.wait() == 0


def gibibyte(head: bytes) -> bytes:
    """Compress a frame's beginning and a gibibyte of zeros behind it.

    The zeros are compressed once, and stand there 64 times: each time as if nothing was before.
    """
    packer = zlib.compressobj(9)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(16 * MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + 64 * zeros


def test_bombs(tmp_path: Path) -> None:
    """A gibibyte in a mebibyte, frames in frames, endless windows: each ends its connection."""
    event = b"2J" + struct.pack(">II", 1, 60 * MIB)
    pairs = b"2D" + struct.pack(">II", 1, 1024) + struct.pack(">I", MIB - 100)
    nested = wire.event(1, b"{}")
    for _ in range(100):
        nested = wire.compressed(nested)
    tiny = wire.compressed(b"".join(wire.event(1, b"{}") for _ in range(200_000)))
    with attacked(tmp_path, tls=False, what="bombs") as under:
        for head in (event, pairs, b""):
            under.attack(wire.window(16_384) + wire.raw_compressed(gibibyte(head)), 5)
        under.good.goes_on()
        under.attack(wire.window(16_384) + nested, 20)
        under.attack(wire.window(2**32 - 1), 20)
        under.attack(wire.window(1) + b"2J" + struct.pack(">II", 1, 2**32 - 1), 20)
        under.attack(wire.window(1) + b"2D" + struct.pack(">II", 1, 2**32 - 1), 20)
        under.attack(b"2C" + struct.pack(">I", 2**32 - 1), 20)
        under.good.goes_on()
        under.attack(wire.window(1) + tiny, 5)
        assert under.refused() == {
            "ratio": 5, "protocol": 5, "nested": 20, "frame": 65, "window": 25,
        }  # fmt: skip


def test_windows_of_tiny_events_from_many(tmp_path: Path) -> None:
    """Two bytes each, and some hundred of ours: what a record costs us is counted, too."""
    frames = wire.batch([b"{}"] * 16_384, compress=True)
    with attacked(tmp_path, tls=False, what="60 windows of 16,384 tiny events") as under:
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(under.daemon.port)) for _ in range(60)]
            for client in clients:
                client.send(frames)
            under.good.goes_on()


def stall(number: int) -> bytes:
    """Give the beginning of something: a window, an event, a compressed frame, or nothing."""
    window = wire.window(2)
    long = wire.event(1, b"x" * 60_000)
    return (
        b"",
        window,
        window + long[:50_000],
        window + wire.compressed(wire.event(1, b"x" * 60_000) * 2)[:-5],
        wire.batch([b"{}"] * 50) + window + wire.event(1, b"{}"),
    )[number % 5]


@pytest.mark.parametrize("tls", [False, True])
def test_a_thousand_slow_senders(tmp_path: Path, tls: bool) -> None:
    """Each has begun something and stays; good senders are served, and new ones let in."""
    with attacked(tmp_path, tls=tls, what=f"{SLOW} slow senders") as under, ExitStack() as stack:
        for number in range(SLOW):
            client = stack.enter_context(Client(under.daemon.port, under.tls))
            client.send(stall(number))
            if number % 100 == 0:
                under.good.goes_on()
        with Client(under.daemon.port, under.tls) as late:
            late.send(wire.batch([{"late": 1}]))
            late.wait_for(1)


def test_a_thousand_begun_records_of_tls(tmp_path: Path) -> None:
    """What TLS itself keeps for each is bounded, too."""
    with attacked(tmp_path, tls=True, what=f"{SLOW} begun records") as under, ExitStack() as stack:
        assert under.tls is not None
        for _ in range(SLOW):
            sender = stack.enter_context(wire.Secure(under.daemon.port, under.tls))
            sender.tls.write(wire.window(1) + wire.event(1, b"x" * 16_000))
            sender.socket.sendall(sender.records()[:-10])
        under.good.goes_on()


def test_more_slow_senders_than_there_is_room_for(tmp_path: Path) -> None:
    """The slowest make room: whoever means well gets in, even if it has to come again."""
    with (
        attacked(
            tmp_path, tls=False, what=f"{SLOW} slow senders, 100 places", max_connections=100
        ) as under,
        ExitStack() as stack,
    ):
        for number in range(SLOW):
            stack.enter_context(Client(under.daemon.port))
            if number % 200 == 0:
                under.good.goes_on()
        end = time.monotonic() + wire.PATIENCE_S
        while under.refused().get("connections", 0) < SLOW - 100:
            assert time.monotonic() < end, under.refused()
            under.good.goes_on()
