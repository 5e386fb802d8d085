"""Several workers share one port; whichever takes a connection, what it acknowledges is there."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import psutil

from tests.admin_client import get

from . import wire
from .daemon import BeatsDaemon, pipeline_of

SENDERS = 16
BATCHES = 5


def test_workers_share_the_port(tmp_path: Path) -> None:
    """Each takes some of the senders; one is killed, and its senders come back to the others."""
    from tests.servers.process import free_ports

    (port,) = free_ports(1)
    admin = tmp_path / "admin.sock"
    pipeline = pipeline_of(tmp_path, listen=f"127.0.0.1:{port}")
    failures: list[BaseException] = []

    def send(sender: int) -> None:
        try:
            for number in range(BATCHES):
                ids = [f"{sender}-{number}-{n}" for n in range(50)]
                frames = wire.batch([{"@metadata": {"_id": one}} for one in ids])
                while True:
                    try:
                        with wire.Client(port) as client:
                            client.send(frames)
                            while (acknowledged := client.ack()) not in (50, None):
                                pass
                    except OSError:
                        acknowledged = None
                    if acknowledged is not None:
                        break
                    time.sleep(0.05)  # the worker is gone; the next one is as good
        except BaseException as error:
            failures.append(error)

    with BeatsDaemon(pipeline, tmp_path, "--workers", "2", "--admin", f"unix:{admin}") as daemon:
        end = time.monotonic() + wire.PATIENCE_S
        while daemon.text.count('"event": "listening"') < 2:
            assert time.monotonic() < end, daemon.text
            time.sleep(0.02)  # between two looks
        threads = [threading.Thread(target=send, args=(number,)) for number in range(SENDERS)]
        for thread in threads:
            thread.start()
        psutil.Process(daemon.process.pid).children()[0].kill()
        for thread in threads:
            thread.join()
        assert not failures
        status = json.loads(get(admin, "/status")[1])
        assert len(status["workers"]) == 2, status
        daemon.terminate()
        assert daemon.wait() == 0, daemon.text
        assert len(daemon.documents()) == SENDERS * BATCHES * 50
