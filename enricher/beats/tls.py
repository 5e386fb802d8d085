"""TLS between a socket and a connection, with little memory and the brakes in our hands.

The event loops' own TLS keeps a quarter of a mebibyte for each connection, and takes in more
while nobody reads: for a thousand connections that is more than all the rest.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from enricher.beats.pieces import Pieces

_SLICE = 4 << 10
"""Bytes that go to OpenSSL at a time: it keeps the room that it ever needed for them."""
_PLAIN = 64 << 10


class Tls(asyncio.Protocol, asyncio.Transport):
    """The transport of a connection, and the protocol of its socket.

    Args:
        inner: The connection.
        context: Of the server.
        on_failure: Told why, where a handshake fails or a record is broken.
    """

    def __init__(
        self, inner: asyncio.Protocol, context: ssl.SSLContext, on_failure: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._inner = inner
        self._on_failure = on_failure
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._transport: asyncio.Transport | None = None
        self._backlog = Pieces()
        """What was received while nobody reads."""
        self._is_secure = False
        self._is_paused = False
        self._is_over = False
        """Whether the client said goodbye; what it sends behind that is nobody's."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; the handshake begins with what the client says."""
        self._transport = cast("asyncio.Transport", transport)
        self._inner.connection_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._transport = None
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Decrypt what is whole, and pass it on."""
        self._backlog.add(data)
        self._advance()

    def eof_received(self) -> bool:
        """Stay for as long as the connection wants to write."""
        return bool(self._inner.eof_received())

    def pause_writing(self) -> None:
        """Pass it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._inner.resume_writing()

    def pause_reading(self) -> None:
        """Take in no more, but for what the handshake needs."""
        self._is_paused = True
        if self._is_secure and self._transport:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on with what was received, and take in more."""
        if self._is_paused:
            self._is_paused = False
            asyncio.get_running_loop().call_soon(self._advance)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Encrypt and send; nothing, where no handshake was yet."""
        if self._is_secure:
            with suppress(ssl.SSLError):  # it ends, and whoever reads is told
                self._tls.write(data)
            self._flush()

    def is_closing(self) -> bool:
        """Say whether nothing can be sent any more."""
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        """Say goodbye, and close once that is sent."""
        if self._is_secure and not self.is_closing():
            with suppress(ssl.SSLError):  # we do not wait for the other's goodbye
                self._tls.unwrap()
            self._flush()
        if self._transport:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport:
            self._transport.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Give what the socket's transport knows."""
        return self._transport.get_extra_info(name, default) if self._transport else default

    def _advance(self) -> None:
        try:
            while not self.is_closing() and not (self._is_paused and self._is_secure):
                if self._is_secure and (plain := self._read()):
                    self._inner.data_received(plain)
                elif self._is_over:
                    self._end()
                    return
                elif self._backlog.size:
                    self._incoming.write(self._backlog.take(_SLICE))
                    self._shake_hands()
                elif self._transport:
                    self._backlog.trim()
                    self._transport.resume_reading()
                    return
        except ssl.SSLError as error:
            self._flush()  # the alert
            self._on_failure(error.reason or str(error))

    def _shake_hands(self) -> None:
        if not self._is_secure:
            with suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
                self._is_secure = True
                if self._is_paused and self._transport:
                    self._transport.pause_reading()
            self._flush()

    def _read(self) -> bytes:
        """Give what can be decrypted, several records together."""
        found: list[bytes] = []
        size = 0
        with suppress(ssl.SSLWantReadError):
            while size < _PLAIN:
                plain = self._tls.read(_PLAIN)
                if not plain:
                    self._is_over = True
                    break
                found.append(plain)
                size += len(plain)
        return b"".join(found)

    def _end(self) -> None:
        if not self._inner.eof_received():
            self.close()
        elif self._transport:
            self._transport.pause_reading()

    def _flush(self) -> None:
        if self._outgoing.pending and self._transport and not self._transport.is_closing():
            self._transport.write(self._outgoing.read())
