"""Where the servers are: the `connections:` block, swapped whole by --local or --connections.

A connection is data. `client_options()` gives a client's keyword arguments; nothing here
touches the network.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from enricher.connections.redis import RedisConnection
from enricher.connections.settings import (
    ESCAPES,
    STRICT,
    Addresses,
    File,
    Secret,
    Text,
    check_files,
    is_url,
    reveal,
    tls,
)

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
            options["ssl_context"] = tls(
                "kafka", self.ca_file, self.certificate_file, self.key_file
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
        check_files("elasticsearch", {"ca_file": self.ca_file})
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
    urls: Addresses = Field(repr=False, description="URLs, separated by commas.")


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
