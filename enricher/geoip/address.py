"""IP addresses as the 4 or 16 bytes that they are."""

from __future__ import annotations

from ipaddress import ip_address
from socket import AF_INET, AF_INET6, inet_pton

_MAPPED = bytes(10) + b"\xff\xff"
_SHORTEST = {4: 3, 16: 8}
"""Bytes of a /24 and a /64: the networks that are private or public as a whole, for us."""


def pack(text: str) -> bytes | None:
    """Read an address; None where it is none. `::ffff:1.2.3.4` is 1.2.3.4, a zone is left out."""
    try:
        packed = inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, ValueError):
        try:
            packed = ip_address(text).packed  # slower, and knows zones: fe80::1%eth0
        except ValueError:
            return None
    return packed[12:] if packed.startswith(_MAPPED) else packed


def is_private(packed: bytes) -> bool:
    """Say whether the /24 (of IPv6 the /64) of an address begins with one that is not public."""
    length = _SHORTEST[len(packed)]
    return ip_address(packed[:length] + bytes(len(packed) - length)).is_private
