"""Asks the admin endpoint of a daemon over its unix socket: no port that another test might have."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

PATIENCE_S = 30.0


class Unix(http.client.HTTPConnection):
    """A connection to a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("enricher", timeout=PATIENCE_S)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def get(path: Path, page: str) -> tuple[int, str]:
    """Give the status and the body of a page."""
    connection = Unix(path)
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
