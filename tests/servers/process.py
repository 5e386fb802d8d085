"""Run a server as a child process: on a port of its own, with a log file, and never longer than the tests."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_FIRST_PORT = 15_000

# Has the kernel kill the server when the thread that started it ends (PR_SET_PDEATHSIG, SIGKILL), even if pytest is
# killed; then becomes the server.
DIE_WITH_PARENT = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
os.execv(sys.argv[1], sys.argv[1:])
"""

# Lives as long as this process. A test that restarts a server from a short-lived thread must not take it down.
_starter = ThreadPoolExecutor(1, thread_name_prefix="servers")


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nothing listens on.

    They lie below the range from which the kernel takes the ports of outgoing connections. Inside that range, a
    client that reconnects while the server is down may be given the server's own port, and then talks to itself.
    """
    candidates = range(_FIRST_PORT, max(_first_ephemeral_port(), _FIRST_PORT + 5_000))
    found: list[int] = []
    for port in random.sample(candidates, len(candidates)):
        if len(found) == count:
            break
        if _is_free(port):
            found.append(port)
    return found


def _first_ephemeral_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 32_768


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def is_listening(port: int) -> bool:
    """Tell whether something accepts connections on a loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _spawn(command: list[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    if sys.platform == "linux":
        command = [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, *command]
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for pytest, which then stops the servers in order
        )


class Server:
    """One server on this machine; it keeps its ports and its data when it is restarted.

    A subclass says what to run (`command`) and when it answers (`is_ready`).

    Args:
        folder: Where its configuration, its data and its log go; made if it is missing.
        seconds: How long it may take to start.
    """

    name = "server"

    def __init__(self, folder: Path, *, seconds: float = 60) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / f"{self.name}.log"
        self.seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground; the program by its full path."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Tell whether the server, which is running, serves requests."""
        raise NotImplementedError

    @property
    def is_running(self) -> bool:
        """Tell whether the process is alive (it may be paused)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Return the process id; raises RuntimeError when the server is not running."""
        return self._running().pid

    def start(self) -> None:
        """Start the server unless it is running, and wait until it serves requests."""
        if self.is_running:
            return
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._process = _starter.submit(_spawn, self.command(), self.folder, self.log).result()
        self._wait_until_ready()

    def stop(self) -> None:
        """Ask the server to end and wait for it; kill it after 20 seconds."""
        if self._process is None:
            return
        self.resume()  # a paused process would not see the signal
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop the server if it is running and start it on the same ports and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on; does nothing to one that is not paused or not running."""
        if self.is_running:
            os.kill(self.pid, signal.SIGCONT)

    def logged(self) -> str:
        """Return what the server has logged since it was last started."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"{self.name} is not running; its log: {self.log}")
        return self._process

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.seconds
        while not self.is_ready():
            if self.is_running and time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            why = f"was not ready in {self.seconds} s" if self.is_running else "ended"
            self.kill()
            raise RuntimeError(
                f"{self.name} {why}; its log, {self.log}, ends:\n{self.logged()[-3000:]}"
            )
