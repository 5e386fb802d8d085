"""One request to Elasticsearch: raw bytes there, status and raw bytes back, no retries.

The driver's exceptions are translated here, once; none leaks.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from enricher.connections import ElasticsearchConnection, reveal
from enricher.model import Unavailable, UserError
from enricher.waiting import retry_after_s

if TYPE_CHECKING:
    from elasticsearch import AsyncElasticsearch

_TYPE = "application/vnd.elasticsearch+%s; compatible-with=8"


class Answer(NamedTuple):
    """What the server said; any status."""

    status: int
    body: bytes
    retry_after_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def decode(self) -> Any:
        """Give the decoded body, or None where it is no JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


class ElasticsearchClient:
    """Sends single requests to one cluster; the caller decides what to do about a failure."""

    def __init__(self, connection: ElasticsearchConnection, *, compress: bool = False) -> None:
        """Prepare, without touching the network.

        Args:
            connection: with `hosts`.
            compress: gzip the bodies: less network for more CPU (zlib level 1, off the loop).

        Raises:
            UserError: the hosts or TLS files cannot be used.
        """
        self.address = ",".join(_without_credentials(host) for host in connection.hosts or ())
        self._timeout_s = connection.timeout_s
        self._compress = compress
        self._headers = {"accept": _TYPE % "json"} | _authorization(connection)
        self._driver = _driver(connection, self.address)

    async def request(
        self, method: str, target: str, body: bytes | None = None, kind: str = "json"
    ) -> Answer:
        """Send one request and give the answer, whatever its status.

        Args:
            method: of HTTP.
            target: path and query.
            body: as it is to be sent.
            kind: `json` or `x-ndjson`, of the body.

        Raises:
            Unavailable: no answer; whether the request was carried out is unknown.
        """
        from elastic_transport import TransportError

        headers = dict(self._headers)
        if body is not None:
            headers["content-type"] = _TYPE % kind
            if self._compress:
                headers["content-encoding"] = "gzip"
                body = await asyncio.to_thread(_gzip, body)
        try:
            meta, raw = await self._driver.transport.perform_request(
                method,
                target,
                body=body,
                headers=headers,
                # The client's own settings do not reach its transport: without these two it
                # retries three times and gives up after ten seconds.
                max_retries=0,
                request_timeout=self._timeout_s,
            )
        except TransportError as error:
            raise Unavailable(self._explain(error)) from None
        hint_s = retry_after_s(meta.headers.get("retry-after"))
        return Answer(meta.status, raw if isinstance(raw, bytes) else b"", hint_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._driver.close()

    def _explain(self, error: Exception) -> str:
        reason = _reason(error, self._timeout_s)
        return (
            f"elasticsearch at {self.address} cannot be reached ({reason}); retrying; "
            "check connections.elasticsearch.hosts"
        )


def _driver(connection: ElasticsearchConnection, address: str) -> AsyncElasticsearch:
    # Imported late: it takes most of a second, which the command line should not pay for.
    from elastic_transport import Serializer
    from elasticsearch import AsyncElasticsearch

    class Raw(Serializer):
        """Hands bodies through: a proxy's HTML page must not hide the status it came with."""

        def loads(self, data: bytes) -> bytes:
            return data

        def dumps(self, data: bytes) -> bytes:
            return data

    kinds = ("application", "text", "image", "multipart", "message", "audio", "video", "font")
    types = ["application/json", "application/x-ndjson", "application/vnd.elasticsearch+json"]
    types += ["application/vnd.elasticsearch+x-ndjson", *(f"{kind}/*" for kind in kinds)]
    # The transport logs a line per failure; the sink says the same once a minute.
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)
    try:
        return AsyncElasticsearch(
            **connection.client_options(), serializers=dict.fromkeys(types, Raw())
        )
    except (ValueError, OSError) as error:
        # A ValueError may repeat the URL, and with it a password.
        detail = f": {error}" if isinstance(error, OSError) else ""
        raise UserError(
            f"connections.elasticsearch: {address or 'hosts'} cannot be used{detail}; "
            "a host is a URL with a port, such as https://localhost:9200"
        ) from None


def _authorization(connection: ElasticsearchConnection) -> dict[str, str]:
    # The driver keeps these headers in its client, and raw requests go past that.
    from elastic_transport.client_utils import basic_auth_to_header

    if key := reveal(connection.api_key):
        return {"authorization": f"ApiKey {key}"}
    if connection.username:
        password = reveal(connection.password) or ""
        return {"authorization": basic_auth_to_header((connection.username, password))}
    return {}


def _without_credentials(url: str) -> str:
    """Give scheme, host and port of a URL; an unreadable one may hide a password anywhere."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "(unreadable URL)"
    if not parts.scheme or not host:
        return "(unreadable URL)"
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}{f':{port}' if port else ''}"


def _reason(error: BaseException, timeout_s: float) -> str:
    from elastic_transport import ConnectionTimeout

    if isinstance(error, ConnectionTimeout):
        return f"no answer within {timeout_s:g} s"
    # The transport empties `errors` on the last attempt, and with no retries that is the first.
    inner = error.__context__
    inner = getattr(inner, "certificate_error", None) or getattr(inner, "os_error", None) or inner
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {inner.verify_message}"
    if isinstance(inner, ssl.SSLError):
        return f"TLS: {inner.reason or 'handshake failed'}"
    if isinstance(inner, OSError) and (inner.errno or 0) > 0:
        return os.strerror(inner.errno or 0).lower()
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror.lower()
    return type(inner or error).__name__


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
