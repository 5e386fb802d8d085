"""What sources have in common that are sent to: an address, TLS, and a socket."""

from __future__ import annotations

import errno
import ipaddress
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import structlog
from pydantic import AfterValidator, BaseModel, Field, model_validator

from enricher.connections import STRICT, File
from enricher.document import MISSING
from enricher.model import UserError

if TYPE_CHECKING:
    import ssl

log = structlog.get_logger(__name__)

_OTHERS = 256
"""Descriptors for everything else: sinks, look-ups, files."""


class Address(NamedTuple):
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `HOST:PORT`; an IPv6 address stands in brackets. Raises ValueError."""
        host, _, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        is_host = bare and (bare == host) == (":" not in host) and not set(bare) & set("/ []")
        if not is_host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
            raise ValueError("write HOST:PORT, such as 127.0.0.1:5044, or 0.0.0.0:5044 for all")
        return cls(bare, int(port))


def _check(text: str) -> str:
    if text and not text.startswith(MISSING):
        Address.parse(text)
    return text


Listen = Annotated[str, AfterValidator(_check)]


class Tls(BaseModel):
    """TLS of a source that listens; without a certificate it is off."""

    model_config = STRICT
    certificate_file: File = Field(
        default=None, description="PEM, with the chain behind it; empty: no TLS."
    )
    key_file: File = Field(default=None, description="Of that certificate, where it is not in it.")
    client_ca_file: File = Field(
        default=None, description="Authorities whose certificates clients must show."
    )
    client_certificates: Literal["required", "optional"] = Field(
        default="required",
        description="With `client_ca_file`. `optional` lets those in who show none.",
    )

    @model_validator(mode="after")
    def _has_certificate(self) -> Tls:
        if self.certificate_file is None and (self.key_file or self.client_ca_file):
            raise ValueError("key_file and client_ca_file need a certificate_file")
        return self

    def context(self, folder: Path) -> ssl.SSLContext | None:
        """Give what connections are made with; None where TLS is off.

        Args:
            folder: Where relative paths start.

        Raises:
            UserError: a file cannot be used.
        """
        if self.certificate_file is None:
            return None
        import ssl

        def at(name: str) -> Path | None:
            file: Path | None = getattr(self, name)
            if file is None:
                return None
            try:
                (folder / file).open("rb").close()
            except OSError as error:
                raise UserError(f"tls.{name}: {file} cannot be read: {error.strerror}") from None
            return folder / file

        certificate, key, authorities = map(at, ("certificate_file", "key_file", "client_ca_file"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(certificate or "", key, password=_no_password)
            if authorities:
                context.load_verify_locations(authorities)
                required = self.client_certificates == "required"
                context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        except ssl.SSLError as error:
            raise UserError(f"tls: a file cannot be used: {error.reason or 'not PEM'}") from None
        return context


def _no_password() -> str:
    """Answer OpenSSL, which would ask at the terminal."""
    return ""


def bind(address: Address, *, shared: bool) -> socket.socket:
    """Listen on an address, alone or as one of several workers that share it.

    Raises:
        UserError: the address is in use or cannot be had.
    """
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, where = found[0]
        return socket.create_server(
            where[:2],
            family=family,
            backlog=socket.SOMAXCONN,
            reuse_port=shared,
            dualstack_ipv6=address.host == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"{error.strerror or error}"
        raise UserError(
            f"cannot listen on {address}: {why}; give another one as `listen`"
        ) from None


def is_open(server: socket.socket) -> bool:
    """Say whether others than this machine reach a socket that listens."""
    return not ipaddress.ip_address(server.getsockname()[0].partition("%")[0]).is_loopback


def make_room(connections: int) -> int:
    """Let the process open so many connections; gives how many it may, which can be fewer."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return connections
    wanted = connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinity = resource.RLIM_INFINITY
    if soft != infinity and soft < wanted:
        soft = wanted if hard == infinity else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == infinity or soft >= wanted:
        return connections
    log.warning("fewer connections than wanted: raise the limit of open files",
                limit=soft, connections=max(1, soft - _OTHERS), wanted=connections)  # fmt: skip
    return max(1, soft - _OTHERS)
