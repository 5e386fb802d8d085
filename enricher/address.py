"""Where a server of ours listens: `HOST:PORT`."""

from __future__ import annotations

import ipaddress
import socket
from typing import NamedTuple

BACKLOG = 128


class Address(NamedTuple):
    """A host and port, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it; a name but `localhost` may be anything."""
        host = self.host.partition("%")[0]
        try:
            return bool(self.path) or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def parse(text: str) -> Address | None:
    """Read `HOST:PORT`, `[V6]:PORT` among it; None where it is none."""
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    sound = bare and (bare == host) == (":" not in host) and "/" not in bare
    if not sound or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        return None
    return Address(bare, int(port))


def listen(address: Address, *, shared: bool = False, backlog: int = BACKLOG) -> socket.socket:
    """Bind and listen on a host and port; `shared` with other processes that do the same.

    Raises:
        OSError: it is in use, or cannot be had.
    """
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    family, *_, where = found[0]
    return socket.create_server(where[:2], family=family, backlog=backlog, reuse_port=shared)
