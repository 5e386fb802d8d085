"""NDJSON over HTTP through the payments pipeline, to a sink that only counts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from bench import floor
from enricher.cli.generate import user_lines
from enricher.generator import generate
from tests.servers.process import free_ports, is_listening

LINES = 500
"""Of a request."""
BODIES = 40
"""Different ones; they are sent again and again."""
CONNECTIONS = 4


def run(requests: int) -> dict[str, Any]:
    """Send so many requests from another process, once the server is warm."""
    events = [event.value for event in generate(LINES * BODIES, days=1)]
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "users.ndjson").write_bytes(b"".join(user_lines(1)))
        for number in range(BODIES):
            lines = events[number * LINES : (number + 1) * LINES]
            (folder / f"{number}.body").write_bytes(b"\n".join(lines) + b"\n")
        server = psutil.Popen(_python("bench.http_server", str(port), name), env=_environment())
        try:
            while not is_listening(port):
                time.sleep(0.05)
            _send(port, folder, BODIES * 2)
            begin, cpu = time.monotonic(), sum(server.cpu_times()[:2])
            _send(port, folder, requests)
            cpu = sum(server.cpu_times()[:2]) - cpu
            seconds, resident = time.monotonic() - begin, server.memory_info().rss
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
    count = requests * LINES
    return {
        "cpu_us": cpu / count * 1e6,
        "floor_us": floor.of(events[:2000]) * 1e6,
        "events_per_second": count / seconds,
        "resident_mib": resident / 2**20,
    }


def _send(port: int, folder: Path, requests: int) -> None:
    subprocess.run(
        _python("bench.http_client", str(port), str(folder), str(requests), str(CONNECTIONS)),
        check=True,
    )


def _python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def _environment() -> dict[str, str]:
    return {**os.environ, "ENRICHER_ADMIN": "off"}
