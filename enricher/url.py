"""URLs of servers, which may hold a password: nothing here repeats one."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from enricher.document import MISSING

ESCAPES = "in a password write , : / @ ? # % as %2C %3A %2F %40 %3F %23 %25"
"""What to say of a URL that cannot be used."""


def is_url(text: str, schemes: tuple[str, ...], *, needs_port: bool = False) -> bool:
    """Say whether a text can be used; what is wrong is not told, for it may be a secret."""
    if text.startswith(MISSING):
        return True
    if any(map(str.isspace, text)):
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in schemes or "@" in f"{parts.path}{parts.query}{parts.fragment}":
        return False  # an @ there was one of the password, which began before
    has_place = bool(parts.hostname or (parts.scheme == "unix" and parts.path))
    return has_place and (port is not None or not needs_port)


def is_loopback(host: str | None) -> bool:
    """Tell whether a host is this machine, so that nobody listens on the way."""
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"
