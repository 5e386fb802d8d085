"""Where the servers are: the `connections:` block, swapped whole by --local or --connections.

A connection is data. `client_options()` gives a client's keyword arguments; nothing here
touches the network.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, field_validator, model_validator

from enricher.connections.redis import RedisConnection
from enricher.connections.settings import (
    STRICT,
    Addresses,
    File,
    Secret,
    Text,
    Token,
    empty_is_none,
    reveal,
)
from enricher.document import MISSING
from enricher.tls import check_files, tls_context
from enricher.url import ESCAPES, is_loopback, is_url

__all__ = [
    "STRICT",
    "Addresses",
    "AlertmanagerConnection",
    "Connections",
    "ElasticsearchConnection",
    "File",
    "KafkaConnection",
    "RedisConnection",
    "Secret",
    "SmtpConnection",
    "Text",
    "Token",
    "reveal",
]


class KafkaConnection(BaseModel):
    """A Kafka cluster."""

    model_config = STRICT
    brokers: Addresses = Field(description="`host:port`, several separated by commas.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="`SSL`: over TLS. `SASL`: with a user and a password."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="PLAIN", description="How the password is proved; the cluster says which."
    )
    sasl_username: Text = Field(default=None, description="For the SASL protocols.")
    sasl_password: Secret = Field(
        default=None, description="For the SASL protocols; better `${file:…}` than in the file."
    )
    ca_file: File = Field(
        default=None, description="Authorities that the brokers' certificates are checked against."
    )
    certificate_file: File = Field(default=None, description="The client's own, for mutual TLS.")
    key_file: File = Field(default=None, description="Of that certificate, where it is not in it.")

    @field_validator("brokers")
    @classmethod
    def _are_addresses(cls, values: list[str]) -> list[str]:
        for value in values:
            _, colon, port = value.rpartition("]")[2].rpartition(":")
            if not value or (colon and not port.isdecimal()):
                raise ValueError("a broker is host:port, such as localhost:9092")
        return values

    def client_options(self) -> dict[str, Any]:
        """Give what every aiokafka client takes. Raises UserError for an unusable TLS file."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.brokers,
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = reveal(self.sasl_password)
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = tls_context(
                "connections.kafka", self.ca_file, self.certificate_file, self.key_file
            )
        return options


class ElasticsearchConnection(BaseModel):
    """An Elasticsearch cluster, or (with `store`) a SQLite file that stands in for one."""

    model_config = STRICT
    hosts: Addresses | None = Field(
        default=None, repr=False, description="URLs, separated by commas; may hold a password."
    )
    api_key: Secret = Field(default=None, description="Encoded, as Elasticsearch gave it.")
    username: Text = Field(default=None, description="For basic authentication, without a key.")
    password: Secret = Field(default=None, description="For basic authentication.")
    ca_file: File = Field(
        default=None, description="Authorities that the nodes' certificates are checked against."
    )
    verify_certificates: bool = Field(
        default=True, description="`false` trusts any certificate: for a test cluster alone."
    )
    timeout_s: float = Field(default=60.0, gt=0, description="Of one request, in seconds.")
    store: File = Field(default=None, description="A SQLite file to write to instead.")

    @field_validator("hosts")
    @classmethod
    def _are_urls(cls, values: list[str] | None) -> list[str] | None:
        if not all(is_url(value, ("http", "https"), needs_port=True) for value in values or ()):
            raise ValueError(
                f"a host is a URL with a port, such as https://localhost:9200; {ESCAPES}"
            )
        return values

    @model_validator(mode="after")
    def _one_of(self) -> ElasticsearchConnection:
        if (self.hosts is None) == (self.store is None):
            raise ValueError("give either hosts or store")
        return self

    def client_options(self) -> dict[str, Any]:
        """Give the keyword arguments of AsyncElasticsearch; its own retries are switched off.

        Raises UserError for an unusable TLS file.
        """
        check_files("connections.elasticsearch", {"ca_file": self.ca_file})
        options: dict[str, Any] = {
            "hosts": self.hosts,
            "request_timeout": self.timeout_s,
            "max_retries": 0,
            "retry_on_timeout": False,
        }
        if self.api_key:
            options["api_key"] = reveal(self.api_key)
        elif self.username:
            options["basic_auth"] = (self.username, reveal(self.password) or "")
        if any(host.startswith("https") for host in self.hosts or ()):
            options["verify_certs"] = self.verify_certificates
            options["ssl_show_warn"] = False
            if self.ca_file:
                options["ca_certs"] = str(self.ca_file)
        return options


class AlertmanagerConnection(BaseModel):
    """Replicas of Alertmanager; every one of them is told."""

    model_config = STRICT
    urls: Annotated[Addresses | None, BeforeValidator(empty_is_none)] = Field(
        default=None,
        repr=False,
        description="URLs, separated by commas; may hold a password. Empty: nothing is sent.",
    )
    username: Text = Field(default=None, description="For basic authentication.")
    password: Secret = Field(default=None, description="For basic authentication.")
    token: Token = Field(default=None, description="A bearer token, in place of a password.")
    ca_file: File = Field(
        default=None, description="Authorities that the certificates are checked against."
    )
    timeout_s: float = Field(default=10.0, gt=0, description="Of one request, in seconds.")

    @field_validator("urls")
    @classmethod
    def _are_urls(cls, values: list[str] | None) -> list[str] | None:
        if not all(is_url(value, ("http", "https")) for value in values or ()):
            raise ValueError(f"a URL is wanted, such as http://localhost:9093; {ESCAPES}")
        return values

    def client_options(self) -> list[dict[str, Any]]:
        """Give the keyword arguments of httpx's client for each of the URLs.

        Raises UserError for an unusable TLS file.
        """
        return [self._options_of(url) for url in self.urls or ()]

    def _options_of(self, url: str) -> dict[str, Any]:
        parts = urlsplit(url)
        place = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
        options: dict[str, Any] = {
            "base_url": place.geturl(),
            "timeout": self.timeout_s,
            "trust_env": not is_loopback(parts.hostname),  # a proxy is for what is elsewhere
        }
        if self.token:
            options["headers"] = {"authorization": f"Bearer {reveal(self.token)}"}
        elif self.username:
            options["auth"] = (self.username, reveal(self.password) or "")
        elif parts.username:
            options["auth"] = (unquote(parts.username), unquote(parts.password or ""))
        options["verify"] = parts.scheme == "https" and tls_context(
            "connections.alertmanager", self.ca_file
        )
        return options


class SmtpConnection(BaseModel):
    """A server that takes mail. Credentials go over TLS only, unless it is on this machine."""

    model_config = STRICT
    url: Secret = Field(
        default=None,
        description="`smtp://user:password@host:587`, or `smtps://` for TLS from the first byte; "
        "empty: there is none.",
    )
    starttls: Literal["auto", "required", "off"] = Field(
        default="auto", description="Of `smtp://`. `auto`: TLS where the server offers it."
    )
    ca_file: File = Field(
        default=None, description="Authorities that its certificate is checked against."
    )
    verify_certificates: bool = Field(
        default=True, description="`false` trusts any certificate: for a test server alone."
    )
    timeout_s: float = Field(default=60.0, gt=0, description="Of one whole mail, in seconds.")

    @field_validator("url")
    @classmethod
    def _is_smtp_url(cls, value: SecretStr | None) -> SecretStr | None:
        text = reveal(value) or ""
        if not text or text.startswith(MISSING):
            return value
        if is_url(text, ("smtp", "smtps"), needs_port=True):
            parts = urlsplit(text)
            whole = bool(parts.username) == bool(parts.password)
            if whole and parts.path in ("", "/") and not parts.query and not parts.fragment:
                return value
        raise ValueError(
            f"a URL with a port is wanted, such as smtp://user:password@localhost:587; {ESCAPES}"
        )

    @model_validator(mode="after")
    def _hides_the_password(self) -> SmtpConnection:
        if self.credentials and self.starttls == "off" and not self.is_private:
            raise ValueError(
                "starttls: off would send the password for all to read: leave it away, or "
                "write smtps://"
            )
        return self

    @property
    def address(self) -> str:
        """Give `host:port`, without what is secret."""
        return self._parts.netloc.rpartition("@")[2]

    @property
    def credentials(self) -> tuple[str, str] | None:
        """Give user and password."""
        user, password = self._parts.username, self._parts.password
        return (unquote(user), unquote(password)) if user and password else None

    @property
    def is_private(self) -> bool:
        """Tell whether nobody else can read along, even without STARTTLS."""
        return self._parts.scheme == "smtps" or is_loopback(self._parts.hostname)

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(reveal(self.url) or "")

    def client_options(self) -> dict[str, Any]:
        """Give the keyword arguments of aiosmtplib.SMTP, without credentials or a time-out.

        Raises UserError for an unusable TLS file.
        """
        is_tls = self._parts.scheme == "smtps"
        upgrades: dict[str, bool | None] = {"auto": None, "required": True, "off": False}
        options: dict[str, Any] = {
            "hostname": self._parts.hostname,
            "port": self._parts.port,
            "use_tls": is_tls,
            "start_tls": None if is_tls else upgrades[self.starttls],
        }
        if is_tls or self.starttls != "off":
            options["tls_context"] = tls_context(
                "connections.smtp", self.ca_file, verify=self.verify_certificates
            )
        return options


class Connections(BaseModel):
    """Every connection that sources, stages, sinks and alerts may ask for."""

    model_config = STRICT
    kafka: KafkaConnection | None = None
    elasticsearch: ElasticsearchConnection | None = None
    redis: RedisConnection | None = None
    alertmanager: AlertmanagerConnection | None = None
    smtp: SmtpConnection | None = None

    @property
    def unverified(self) -> list[str]:
        """Name those whose certificates are not checked: anybody may answer in their place."""
        over_tls = {
            "elasticsearch": self.elasticsearch
            and any(host.startswith("https") for host in self.elasticsearch.hosts or ()),
            "redis": self.redis and self.redis.url,
            "smtp": self.smtp and self.smtp.url,
        }
        return [
            name
            for name, used in over_tls.items()
            if used and not getattr(self, name).verify_certificates
        ]
