"""Lumberjack as a sender writes it, byte by byte, sound or not, and a client on a plain socket."""

from __future__ import annotations

import socket
import ssl
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Self

import orjson

HOST = "127.0.0.1"
PATIENCE_S = 20.0


def window(size: int, version: bytes = b"2") -> bytes:
    return version + b"W" + struct.pack(">I", size)


def event(sequence: int, value: bytes, version: bytes = b"2") -> bytes:
    return version + b"J" + struct.pack(">II", sequence, len(value)) + value


def data(sequence: int, pairs: Mapping[bytes, bytes], version: bytes = b"2") -> bytes:
    sized = [struct.pack(">I", len(text)) + text for pair in pairs.items() for text in pair]
    return version + b"D" + struct.pack(">II", sequence, len(pairs)) + b"".join(sized)


def compressed(frames: bytes, level: int = 3, version: bytes = b"2") -> bytes:
    return raw_compressed(zlib.compress(frames, level), version)


def raw_compressed(payload: bytes, version: bytes = b"2") -> bytes:
    return version + b"C" + struct.pack(">I", len(payload)) + payload


def batch(values: Iterable[Any], *, compress: bool = False, first: int = 1) -> bytes:
    """Write a window and its events; what is no bytes becomes JSON."""
    texts = [one if isinstance(one, bytes) else orjson.dumps(one) for one in values]
    frames = b"".join(event(number, text) for number, text in enumerate(texts, first))
    return window(len(texts)) + (compressed(frames) if compress else frames)


def ack(sequence: int, version: bytes = b"2") -> bytes:
    return version + b"A" + struct.pack(">I", sequence)


class Client:
    """A sender on a blocking socket."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=PATIENCE_S)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")

    def send(self, frames: bytes) -> None:
        self.socket.sendall(frames)

    def ack(self) -> int | None:
        """Give the next acknowledgement; None where the connection ended."""
        frame = b""
        try:
            while len(frame) < 6:
                part = self.socket.recv(6 - len(frame))
                if not part:
                    return None
                frame += part
        except (ConnectionResetError, ssl.SSLError):
            return None
        assert frame[1:2] == b"A", frame
        return int(struct.unpack(">I", frame[2:])[0])

    def wait_for(self, sequence: int) -> list[int]:
        """Give the acknowledgements up to this one, which must come."""
        seen: list[int] = []
        while not seen or seen[-1] != sequence:
            one = self.ack()
            if one is None:
                raise ConnectionError(f"the connection ended after {seen}")
            seen.append(one)
        return seen

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Secure:
    """A sender over TLS that has its records in its own hands."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=PATIENCE_S)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.socket.sendall(self.records())
                self._incoming.write(self.socket.recv(1 << 16))

    def records(self) -> bytes:
        """Give what is to be sent."""
        return self._outgoing.read()

    def read(self, count: int) -> bytes:
        """Give so many decrypted bytes."""
        found = b""
        while len(found) < count:
            try:
                found += self.tls.read(count - len(found))
            except ssl.SSLWantReadError:
                received = self.socket.recv(1 << 16)
                assert received, "the connection ended"
                self._incoming.write(received)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
