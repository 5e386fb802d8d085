"""A server that accepts every connection and never says a word."""

from __future__ import annotations

import socket
from threading import Thread
from typing import Self


class BlackHole:
    """Listens on a loopback port, in a thread of its own; use it as a context manager."""

    def __init__(self) -> None:
        self.accepted = 0
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._held: list[socket.socket] = []
        self._thread = Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        for one in (self._listening, *self._held):
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._held.append(connection)
            self.accepted += 1
