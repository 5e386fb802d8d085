"""Accept connections: as many as there are seats."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

from enricher import address
from enricher.address import Address
from enricher.http.connection import Connection, bare
from enricher.http.roster import Roster
from enricher.model import UserError
from enricher.waiting import Reminder

log = structlog.get_logger(__name__)

_GOODBYE_S = 2.0
"""How long TLS may take to say goodbye, in seconds."""
_PAUSE_S = 1.0
_BUFFER = 64 << 10
"""Bytes of a connection that the kernel holds for us (it takes twice that): what comes faster
than we read stays with its client, and no read gives more than that."""


class Listener:
    """Accepts connections and makes a `Connection` of each.

    Args:
        where: The address.
        roster: Where each gets a seat, from before it shakes hands.
        make: Makes the connection.
        tls: None for plain text.
        handshake_s: Deadline of a handshake.
    """

    def __init__(
        self,
        where: Address,
        roster: Roster,
        make: Callable[[], Connection],
        *,
        tls: ssl.SSLContext | None,
        handshake_s: float,
    ) -> None:
        self._where, self._roster, self._make, self._tls = where, roster, make, tls
        self._handshake_s = handshake_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._reminder = Reminder()
        self.refused = 0
        """Connections that there was no seat for."""

    def start(self, *, shared: bool) -> Address:
        """Listen, `shared` with other workers; gives the address with the port that was had.

        Raises:
            UserError: the address is in use or cannot be had.
        """
        try:
            listening = address.listen(self._where, shared=shared)
        except OSError as error:
            told = "is in use" if error.errno == errno.EADDRINUSE else "cannot be had"
            reason = error.strerror or error
            raise UserError(
                f"listen: {self._where} {told} ({reason}); give another address, stop who has it, "
                "or leave this source out with --source"
            ) from None
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        listening.settimeout(0)
        accepting = self._begin(self._accept(listening))
        accepting.add_done_callback(lambda _: listening.close())
        return Address(*listening.getsockname()[:2])

    def stop(self) -> None:
        """Accept no more; those who are connected stay."""
        for task in self._tasks:
            task.cancel()

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError as error:  # too many files are open, here or in the whole machine
                if self._reminder.due("accept"):
                    reason = error.strerror or str(error)
                    log.warning("connections cannot be accepted", reason=reason)
                await asyncio.sleep(_PAUSE_S)
                continue
            connection = self._make()
            if self._roster.admit(connection):
                connection.task = self._begin(self._connect(connection, accepted))
            else:
                self._refuse(accepted)

    async def _connect(self, connection: Connection, accepted: socket.socket) -> None:
        with_tls = self._tls and {
            "ssl_handshake_timeout": self._handshake_s,
            "ssl_shutdown_timeout": _GOODBYE_S,
        }
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, accepted, ssl=self._tls, **(with_tls or {})
            )
        except (OSError, TimeoutError):  # of TLS, or it is gone already
            self._roster.leave(connection)
        except asyncio.CancelledError:
            self._roster.leave(connection)
            raise

    def _refuse(self, accepted: socket.socket) -> None:
        self.refused += 1
        with suppress(OSError), accepted:
            if self._tls is None:
                accepted.settimeout(0)
                accepted.send(bare(503, "Service Unavailable"))
