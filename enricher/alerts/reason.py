"""Say in a few words why a server cannot be reached."""

from __future__ import annotations

import os
import re
import socket
import ssl


def reason_of(error: BaseException) -> str:
    """Give the reason behind a client's error, never its text, which may hold a secret."""
    inner: BaseException | None = error
    for _ in range(10):  # a chain is short; it could lead back to itself
        if isinstance(inner, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {inner.verify_message.rstrip('.')}"
        if isinstance(inner, ssl.SSLError):
            return f"TLS: {inner.reason or 'handshake failed'}"
        if isinstance(inner, socket.gaierror):
            return "its name is not known"
        if isinstance(inner, OSError) and (number := _number(inner)) > 0:
            return os.strerror(number).lower()
        inner = inner and (inner.__cause__ or inner.__context__)
    return "the connection broke off" if isinstance(error, OSError) else type(error).__name__


def _number(error: OSError) -> int:
    """Give the error's number; asyncio puts those of a name's addresses into one text."""
    found = re.search(r"\[Errno ([0-9]+)\]", str(error))
    return error.errno or int(found[1] if found else 0)
