"""Where Redis is: one server, a cluster, or a file in its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from enricher.connections.settings import STRICT, File, Secret, Text, reveal
from enricher.document import MISSING
from enricher.tls import tls_context
from enricher.url import ESCAPES, is_url


class RedisConnection(BaseModel):
    """A Redis or Valkey server, a cluster, or (with `file`) `{"key": …, "value": …}` lines."""

    model_config = STRICT
    url: Secret = Field(
        default=None,
        description="`redis://host:port/0`, or `rediss://` over TLS; may hold a user and a "
        "password. Of a cluster, several separated by commas: any of them tells of the others.",
    )
    cluster: bool = Field(default=False, description="Whether the servers are a cluster.")
    username: Text = Field(default=None, description="Where the URL holds none.")
    password: Secret = Field(
        default=None, description="Where the URL holds none; such as `${REDIS_PASSWORD}`."
    )
    ca_file: File = Field(
        default=None, description="Authorities that certificates are checked against."
    )
    certificate_file: File = Field(default=None, description="The client's own, for mutual TLS.")
    key_file: File = Field(default=None, description="Of that certificate, where it is not in it.")
    verify_certificates: bool = Field(
        default=True, description="`false` trusts any certificate: for a test server alone."
    )
    timeout_ms: int = Field(default=50, gt=0, description="Of one round trip, in milliseconds.")
    file: File = Field(default=None, description="A file that stands in for a server.")

    @field_validator("url")
    @classmethod
    def _are_redis_urls(cls, value: SecretStr | None) -> SecretStr | None:
        for url in value.get_secret_value().split(",") if value else ():
            if not is_url(url, ("redis", "rediss", "unix")):
                raise ValueError(f"a URL is wanted, such as redis://localhost:6379/0; {ESCAPES}")
            if not url.startswith(MISSING) and not _REDIS_REST.fullmatch(_rest_of(url)):
                raise ValueError(
                    "after the port stands nothing, or the number of a database, such as /0; "
                    "what else there is to say has fields of its own"
                )
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> RedisConnection:
        if self.url is not None and self.file is not None:
            raise ValueError("give either url or file")
        urls = [urlsplit(url) for url in self._urls() if not url.startswith(MISSING)]
        if len(urls) > 1 and not self.cluster:
            raise ValueError("only a cluster has several URLs: set cluster to true")
        if self.cluster and any(url.scheme == "unix" or url.path not in _FIRST for url in urls):
            raise ValueError("a cluster has TCP ports, and the database 0 only")
        over_tls = self.ca_file or self.certificate_file or not self.verify_certificates
        if over_tls and any(url.scheme != "rediss" for url in urls):
            raise ValueError("TLS wants a URL that begins with rediss://")
        if self.key_file and not self.certificate_file:
            raise ValueError("key_file belongs to a certificate_file")
        if self.password and any(url.password for url in urls):
            raise ValueError("give the password once: in the url or as password")
        if self.username and any(url.username for url in urls):
            raise ValueError("give the user once: in the url or as username")
        return self

    def client_options(self) -> list[dict[str, Any]]:
        """Give the options of redis-py's connection pool, for each URL.

        Raises UserError for an unusable TLS file.
        """
        from redis.asyncio.connection import parse_url

        shared: dict[str, Any] = {}
        if self.username:
            shared["username"] = self.username
        if self.password:
            shared["password"] = reveal(self.password)
        if any(url.startswith("rediss:") for url in self._urls()):
            shared["connection_class"] = self._connect_over_tls()
        found = []
        for url in self._urls():
            place = {} if url.startswith("unix:") else {"host": "localhost", "port": 6379}
            found.append({**place, **parse_url(url), **shared})
        return found

    def _connect_over_tls(self) -> Callable[..., Any]:
        """Build what makes a connection; all share one context, which is slow to load."""
        from redis.asyncio import SSLConnection

        context = tls_context(
            "connections.redis",
            self.ca_file,
            self.certificate_file,
            self.key_file,
            verify=self.verify_certificates,
        )

        def connection(**options: Any) -> SSLConnection:
            made = SSLConnection(**options)
            made.ssl_context.context = context
            return made

        return connection

    def _urls(self) -> list[str]:
        return (reveal(self.url) or "").split(",") if self.url else []


_FIRST = ("", "/", "/0")
_REDIS_REST = re.compile(r"/?|/\d{1,5}|\?db=\d{1,5}")
"""What may stand behind the place of a server: a query would override what is fixed here."""


def _rest_of(url: str) -> str:
    parts = urlsplit(url)
    path = "" if parts.scheme == "unix" else parts.path
    return f"{path}?{parts.query}" if parts.query else path
