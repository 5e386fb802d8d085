"""Where the servers are: the `connections:` block, swapped whole by --local or --connections.

A connection is data. `client_options()` gives a client's keyword arguments; nothing here
touches the network.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

STRICT = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
"""Unknown fields are refused, and an error never repeats a value that may be a secret."""


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


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
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: Text = None
    sasl_password: Secret = None
    ca_file: File = None
    certificate_file: File = Field(default=None, description="The client's own, for mutual TLS.")
    key_file: File = None

    def client_options(self) -> dict[str, Any]:
        """Give what every aiokafka client takes. Raises OSError for a missing TLS file."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.brokers,
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = reveal(self.sasl_password)
        if self.security_protocol.endswith("SSL"):
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file:
                context.load_cert_chain(self.certificate_file, self.key_file)
            options["ssl_context"] = context
        return options


class ElasticsearchConnection(BaseModel):
    """An Elasticsearch cluster, or (with `store`) a SQLite file that stands in for one."""

    model_config = STRICT
    hosts: Addresses | None = Field(
        default=None, repr=False, description="URLs, separated by commas; may hold a password."
    )
    api_key: Secret = None
    username: Text = None
    password: Secret = None
    ca_file: File = None
    verify_certificates: bool = True
    timeout_s: float = Field(default=60.0, gt=0, description="Of one request, in seconds.")
    store: File = Field(default=None, description="A SQLite file to write to instead.")

    @model_validator(mode="after")
    def _one_of(self) -> ElasticsearchConnection:
        if (self.hosts is None) == (self.store is None):
            raise ValueError("give either hosts or store")
        return self

    def client_options(self) -> dict[str, Any]:
        """Give the keyword arguments of AsyncElasticsearch; its own retries are switched off."""
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
    file: File = None

    @model_validator(mode="after")
    def _at_most_one(self) -> RedisConnection:
        if self.url is not None and self.file is not None:
            raise ValueError("give either url or file")
        return self


class Connections(BaseModel):
    """Every connection that sources, stages and sinks may ask for."""

    model_config = STRICT
    kafka: KafkaConnection | None = None
    elasticsearch: ElasticsearchConnection | None = None
    redis: RedisConnection | None = None
