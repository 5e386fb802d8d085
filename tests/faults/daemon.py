"""`enricher run` as a process of its own, which a test may kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from tests.servers.process import DIE_WITH_PARENT


class Daemon:
    """One running pipeline; its output goes to a log that a failed test shows.

    This is the one place that knows how the pipeline is started.
    """

    def __init__(
        self, pipeline: Path, environment: Mapping[str, str], log: Path, *options: str
    ) -> None:
        command = [sys.executable, "-m", "enricher", "run", str(pipeline), "--format", "json"]
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, *command]
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, *options], env=dict(environment), stdout=output, stderr=output
            )

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self.process.poll() is None

    @property
    def has_joined(self) -> bool:
        """Whether it is, or was, a member of the group, or listens, or follows files."""
        text = self.log.read_text()
        begun = ("partitions assigned", '"http source"', '"follows files"')
        return any(word in text for word in begun)

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would; nothing where it has ended."""
        self.process.kill()
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def stop(self, timeout_s: float = 60) -> int:
        """Ask it to end (SIGTERM), once it has started, and give its exit code."""
        begin = time.monotonic()
        while not self.has_joined and self.is_running and time.monotonic() - begin < timeout_s:
            time.sleep(0.05)
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def resident_bytes(self) -> int:
        """Measure the memory that it holds."""
        return int(psutil.Process(self.process.pid).memory_info().rss)
