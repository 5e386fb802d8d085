"""Where the servers are: the `connections:` block, swapped whole by --local or --connections.

A connection is data. `client_options()` gives a client's keyword arguments; nothing here
touches the network.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from enricher.document import MISSING
from enricher.model import UserError

if TYPE_CHECKING:
    import ssl

STRICT = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
"""Unknown fields are refused, and an error never repeats a value that may be a secret."""


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _is_url(text: str, schemes: tuple[str, ...], *, needs_port: bool = False) -> bool:
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


_ESCAPES = "in a password write , : / @ ? # % as %2C %3A %2F %40 %3F %23 %25"


Addresses = Annotated[list[str], BeforeValidator(_split), Field(min_length=1)]
Secret = Annotated[SecretStr | None, BeforeValidator(_empty_is_none)]
Text = Annotated[str | None, BeforeValidator(_empty_is_none)]
File = Annotated[Path | None, BeforeValidator(_empty_is_none)]


def reveal(secret: SecretStr | None) -> str | None:
    """Give a secret's text, for the client that needs it and nobody else."""
    return secret.get_secret_value() if secret else None


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
            options["ssl_context"] = self._tls()
        return options

    def _tls(self) -> ssl.SSLContext:
        import ssl

        files = {"ca_file": self.ca_file, "certificate_file": self.certificate_file}
        _check_files("kafka", files | {"key_file": self.key_file})
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except ssl.SSLError as error:
            reason = error.reason or "not PEM"
            raise UserError(f"connections.kafka: a TLS file cannot be used: {reason}") from None
        return context


def _check_files(connection: str, files: dict[str, Path | None]) -> None:
    for name, file in files.items():
        try:
            if file:
                file.open("rb").close()
        except OSError as error:
            where = f"connections.{connection}.{name}"
            raise UserError(f"{where}: {file} cannot be read: {error.strerror}") from None


def _trusting(connection: str, ca_file: Path) -> ssl.SSLContext:
    import ssl

    _check_files(connection, {"ca_file": ca_file})
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        where = f"connections.{connection}.ca_file"
        raise UserError(f"{where}: cannot be used: {error.reason or 'not PEM'}") from None


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
        if not all(_is_url(value, ("http", "https"), needs_port=True) for value in values or ()):
            raise ValueError(
                f"a host is a URL with a port, such as https://localhost:9200; {_ESCAPES}"
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
        _check_files("elasticsearch", {"ca_file": self.ca_file})
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


class RedisConnection(BaseModel):
    """A Redis or Valkey server, or (with `file`) a file of `{"key": …, "value": …}` lines."""

    model_config = STRICT
    url: Secret = Field(default=None, description="`redis://` or `rediss://`; may hold a password.")
    timeout_ms: int = Field(default=50, gt=0, description="Of one round trip, in milliseconds.")
    file: File = Field(default=None, description="A file that stands in for a server.")

    @field_validator("url")
    @classmethod
    def _is_redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not _is_url(value.get_secret_value(), ("redis", "rediss", "unix")):
            raise ValueError(f"a URL is wanted, such as redis://localhost:6379/0; {_ESCAPES}")
        return value

    @model_validator(mode="after")
    def _at_most_one(self) -> RedisConnection:
        if self.url is not None and self.file is not None:
            raise ValueError("give either url or file")
        return self


class AlertmanagerConnection(BaseModel):
    """Replicas of Alertmanager; every one of them is told."""

    model_config = STRICT
    urls: Annotated[Addresses | None, BeforeValidator(_empty_is_none)] = Field(
        default=None,
        repr=False,
        description="URLs, separated by commas; may hold a password. Empty: nothing is sent.",
    )
    username: Text = Field(default=None, description="For basic authentication.")
    password: Secret = Field(default=None, description="For basic authentication.")
    token: Secret = Field(default=None, description="A bearer token, in place of a password.")
    ca_file: File = Field(
        default=None, description="Authorities that the certificates are checked against."
    )
    timeout_s: float = Field(default=10.0, gt=0, description="Of one request, in seconds.")

    @field_validator("urls")
    @classmethod
    def _are_urls(cls, values: list[str] | None) -> list[str] | None:
        if not all(_is_url(value, ("http", "https")) for value in values or ()):
            raise ValueError(f"a URL is wanted, such as http://localhost:9093; {_ESCAPES}")
        return values

    def client_options(self, url: str) -> dict[str, Any]:
        """Give the keyword arguments of httpx's client for one of the URLs.

        Raises UserError for an unusable TLS file.
        """
        parts = urlsplit(url)
        place = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
        options: dict[str, Any] = {"base_url": place.geturl(), "timeout": self.timeout_s}
        if self.token:
            options["headers"] = {"authorization": f"Bearer {reveal(self.token)}"}
        elif self.username:
            options["auth"] = (self.username, reveal(self.password) or "")
        elif parts.username:
            options["auth"] = (unquote(parts.username), unquote(parts.password or ""))
        if self.ca_file:
            options["verify"] = _trusting("alertmanager", self.ca_file)
        return options


class SmtpConnection(BaseModel):
    """A server that takes mail."""

    model_config = STRICT
    url: Secret = Field(
        default=None, description="`smtp://user:password@host:port`, or `smtps://`."
    )


class Connections(BaseModel):
    """Every connection that sources, stages, sinks and alerts may ask for."""

    model_config = STRICT
    kafka: KafkaConnection | None = None
    elasticsearch: ElasticsearchConnection | None = None
    redis: RedisConnection | None = None
    alertmanager: AlertmanagerConnection | None = None
    smtp: SmtpConnection | None = None
