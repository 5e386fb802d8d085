"""Post JSON to a URL: whatever takes a webhook, Slack among them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, SecretStr, field_validator, model_validator

from enricher.alerts.digest import Digest, Refused
from enricher.alerts.identity import name_of
from enricher.alerts.payload import Payload, compile_body, generic_body
from enricher.alerts.reason import reason_of
from enricher.alerts.text import KNOWN, RAW, SLACK, cut, tidy
from enricher.body import check
from enricher.connections import STRICT, File, Token, reveal
from enricher.document import MISSING
from enricher.model import Unavailable
from enricher.tls import tls_context
from enricher.url import is_loopback

if TYPE_CHECKING:
    import ssl

    from httpx import AsyncClient, Response

_SLACK_HOST = "hooks.slack.com"
_MOST_ANSWER = 2_048
"""Bytes of an answer that are read: enough for a reason."""
_SHORT = 7
"""Characters of a word such as `webhook` in a path, which is no secret yet."""
_LATER = frozenset({401, 403, 404, 407, 408, 425, 429})
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})


def _check_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if text.startswith(MISSING):
        return url
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), 0
    is_good = parts.scheme in ("http", "https") and parts.hostname and port != 0
    if not is_good or any(map(str.isspace, text)) or not text.isprintable():
        raise ValueError("a URL is wanted, such as https://example.com/hook")
    if "{" in text or "}" in text:
        raise ValueError("a URL is no template: no event decides where its alert goes")
    return url


def _check_headers(headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
            raise ValueError(f'"{name}" is no header that can be set')
        if not value.get_secret_value().isprintable() or not value.get_secret_value().isascii():
            raise ValueError(f"the value of {name} must be printable ASCII")
    return headers


class WebhookTarget(BaseModel):
    """Where JSON is posted, and what it says: one request for many matches.

    Without `body` it holds `id` (the same when it is sent again), `pipeline`, `alert`, `summary`,
    `count`, `first_at`, `last_at` and `matches`: the first ten, with all their fields as `event`.

    In the texts of a `body`, a `{field}` is one of the first match; beside `{$now}` and the like
    there are `{$alert}`, `{$summary}`, `{$count}`, `{$more}` ("and 942 more", or nothing),
    `{$first}`, `{$last}`, `{$when}` and `{$fields}`. A text that is one `{field}` alone keeps its
    type. For Slack, for example:

    `{text: "{$summary} {$more}", blocks: [{type: section, text: {type: mrkdwn, text: "*{$alert}*
    {$more}, ₹{amount}, user {user_id}"}}]}`
    """

    model_config = STRICT
    url: Annotated[SecretStr, AfterValidator(_check_url)] = Field(
        description="Often a secret itself: give it as `${SLACK_WEBHOOK_URL}`."
    )
    method: Literal["POST", "PUT", "PATCH"] = Field(default="POST", description="Of HTTP.")
    headers: Annotated[dict[str, SecretStr], AfterValidator(_check_headers)] = Field(
        default_factory=dict, description="More of them; their values are treated as secrets."
    )
    bearer_token: Token = Field(default=None, description="Sent as `Authorization: Bearer …`.")
    body: dict[str, Any] | list[Any] | None = Field(
        default=None, description="JSON whose texts are templates."
    )
    escape: Literal["slack", "none"] | None = Field(
        default=None,
        description="`slack`: values are text, with `&`, `<` and `>` written so that none is a "
        "mention or a link. The default for Slack's URLs; `none` for others.",
    )
    ca_file: File = Field(
        default=None, description="Authorities that the server's certificate is checked against."
    )
    verify_certificates: bool = Field(
        default=True, description="`false` trusts any certificate: for a test server alone."
    )
    allow_http: bool = Field(
        default=False, description="Lets `http://` lead elsewhere than to this machine."
    )
    timeout_s: float = Field(default=10.0, gt=0, description="Of one request, in seconds.")

    @field_validator("body")
    @classmethod
    def _check_texts(cls, body: Any) -> Any:
        check(body, KNOWN)
        return body

    @model_validator(mode="after")
    def _hides_what_it_says(self) -> WebhookTarget:
        parts = urlsplit(self.url.get_secret_value())
        if parts.scheme == "http" and not (self.allow_http or is_loopback(parts.hostname)):
            raise ValueError(
                "the URL would send alerts for all to read: write https://, or allow_http: true"
            )
        return self

    def build(self, pipeline: str) -> WebhookSender:
        """Build the sender of a pipeline. Opens `ca_file`, never the network.

        Raises:
            UserError: a TLS file cannot be used.
        """
        host = urlsplit(self.url.get_secret_value()).hostname
        escape = self.escape or ("slack" if host == _SLACK_HOST else "none")
        style = SLACK if escape == "slack" else RAW
        if self.body is None:
            return WebhookSender(self, generic_body(pipeline), pipeline)
        return WebhookSender(self, compile_body(self.body, style, pipeline), pipeline)


class WebhookSender:
    """Posts each digest to one URL.

    `Refused` is an answer that blames the body (400, 413, 422, …). All else is `Unavailable`: 5xx,
    429 and what is set up wrong on either side (401, 403, 404, redirects), which people put right.
    Redirects are not followed: they would carry the alert where nobody decided it to go.
    """

    def __init__(self, target: WebhookTarget, write: Payload, pipeline: str) -> None:
        """Prepare, without touching the network. Raises UserError for an unusable TLS file."""
        parts = urlsplit(target.url.get_secret_value())
        self._target = target
        self._write = write
        self._pipeline = pipeline
        self._is_local = is_loopback(parts.hostname)
        self._tls: ssl.SSLContext | bool = parts.scheme == "https" and tls_context(
            "webhook", target.ca_file, verify=target.verify_certificates
        )
        self._where = f"the webhook at {parts.netloc.rpartition('@')[2]}"
        self._client: AsyncClient | None = None

    async def send(self, digest: Digest) -> None:
        """Return once the server has answered 2xx.

        Raises:
            Unavailable: it may be taken later, after the Retry-After it gives; whether it was
                taken may be unknown.
            Refused: it never will.
        """
        import httpx

        client = self._client = self._client or self._connect()
        url, timeout_s = self._target.url.get_secret_value(), self._target.timeout_s
        content = self._write(digest)
        headers = {"Idempotency-Key": f'"{name_of(self._pipeline, digest)}"'}
        try:
            async with (
                asyncio.timeout(timeout_s),
                client.stream(self._target.method, url, content=content, headers=headers) as answer,
            ):
                text = "" if answer.is_success else await _beginning(answer)
        except (TimeoutError, httpx.TimeoutException):
            raise Unavailable(f"{self._where} did not answer within {timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = reason_of(error)
            raise Unavailable(f"{self._where} cannot be reached ({reason})") from None
        if not answer.is_success:
            raise self._judged(answer, text)

    def _judged(self, answer: Response, text: str) -> Exception:
        from enricher.waiting import retry_after_s

        said = f"{self._where} answered {answer.status_code}"
        if answer.is_redirect:
            return Unavailable(f"{said}: redirects are not followed; give the URL itself")
        for secret in self._secrets():
            text = text.replace(secret, "***")
        said += f": {cut(tidy(text).strip(), 200)}" if text.strip() else ""
        if 400 <= answer.status_code < 500 and answer.status_code not in _LATER:
            return Refused(said)
        return Unavailable(said, retry_after_s(answer.headers.get("retry-after")))

    def _secrets(self) -> list[str]:
        """Give what a server might repeat of what it was sent, longest first."""
        parts = urlsplit(self._target.url.get_secret_value())
        given = [parts.query, parts.password, reveal(self._target.bearer_token)]
        given += [value.get_secret_value() for value in self._target.headers.values()]
        path = [one for one in (parts.path, *parts.path.split("/")) if len(one) > _SHORT]
        return sorted(filter(None, (*given, *path)), key=len, reverse=True)

    def _connect(self) -> AsyncClient:
        # Imported late: they take a tenth of a second, which the command line should not pay for.
        import httpx
        import structlog

        if not self._target.verify_certificates:
            log = structlog.get_logger(__name__)
            log.warning("certificates are not checked", server=self._where)
        # They log each URL, at the levels of information and debugging.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._target.bearer_token:
            headers["Authorization"] = f"Bearer {reveal(self._target.bearer_token)}"
        headers |= {k: v.get_secret_value() for k, v in self._target.headers.items()}
        # A proxy of the environment is for what is elsewhere.
        return httpx.AsyncClient(
            headers=headers,
            verify=self._tls,
            timeout=self._target.timeout_s,
            trust_env=not self._is_local,
        )

    async def close(self) -> None:
        """Close the connections; a later `send()` opens new ones."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()


async def _beginning(answer: Response) -> str:
    """Give the beginning of an answer, as it came: what is packed stays so."""
    read = b""
    async for chunk in answer.aiter_raw():
        read += chunk
        if len(read) >= _MOST_ANSWER:
            break
    return read[:_MOST_ANSWER].decode(errors="replace")
