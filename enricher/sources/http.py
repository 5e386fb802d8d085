"""Take records that are sent over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from enricher import address
from enricher.address import Address
from enricher.connections import Secret, Text
from enricher.document import MISSING
from enricher.path import FieldPath
from enricher.sources.base import Setting, SourceModel
from enricher.sources.tls import ServerTls

if TYPE_CHECKING:
    from enricher.http.source import HttpSource

Seconds = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(ge=1024)]


class Http(SourceModel):
    """Take records that are POSTed as JSON or NDJSON; the answer is 200 once all are durable.

    `application/json` is one array of records, or records one after the other;
    `application/x-ndjson` (or `ndjson`, `jsonl`, `jsonlines`) has a record a line. A record that
    is no JSON object or that a stage refuses becomes a dead letter by itself, with the reason,
    and the others go on. A body that cannot be cut into records, such as an array that does not
    end, is answered 400 with the place of the error, and nothing of it is taken. gzip, deflate
    and zstd are understood (`Content-Encoding`).

    A record's id is `<name>@` and what its `id_field` holds; else the request's
    `Idempotency-Key`, a hash of the body and the record's place in it: sending the same again
    writes the same documents, so that each is there once. With neither, a request that is sent
    again because its answer was lost is written again (at least once). A record's timestamp is
    its arrival: a retry on another day goes to another index, and is there twice, where the
    event has no time of its own, or one that is then outside `window`.

    Answers: 200, or 202 with `ack: received`, and how many records were accepted; 429 and 503 with
    `Retry-After`: send the same again later; 400, 408, 413, 415, 417, 431: correct the
    request; 401, 404, 405: correct the client. Browsers cannot send here from foreign pages,
    since they do not send these content types unasked.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "http: {}",
        (
            'http:\n  listen: "0.0.0.0:8080"\n  token: ${HTTP_TOKEN}\n  id_field: event_id\n'
            "  tls: {certificate_file: server.pem, key_file: server.key}"
        ),
    )

    name: str = Field(
        default="http",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="Of this source, in logs, metrics and the records' ids.",
    )
    listen: str = Field(
        default="127.0.0.1:8080",
        description="`HOST:PORT`. Any but loopback demands `token`, `username` or "
        "`tls.client_ca_file`. Port 0 takes a free one, the log tells which.",
    )
    path: str = Field(default="/", pattern=r"^/[!-~]*$", description="What is POSTed to.")
    token: Secret = Field(
        default=None,
        description="`Authorization: Bearer` that is let in; two with a comma, while one takes "
        "the other's place.",
    )
    username: Text = Field(default=None, description="Let in with basic authentication.")
    password: Secret = Field(default=None, description="Of `username`.")
    tls: ServerTls = ServerTls()
    id_field: FieldPath | None = Field(
        default=None,
        description="Field of a record that names it for good: text or integer, at most 256 "
        "bytes. Records without one fall back to the other ids.",
    )
    ack: Literal["durable", "received"] = Field(
        default="durable",
        description="`received`: 202 at once; a crash then loses what waits in memory.",
    )
    max_body_bytes: Bytes = Field(default=8 << 20, description="Largest body, as it is sent.")
    max_inflated_bytes: Bytes = Field(default=8 << 20, description="Largest body, inflated.")
    max_inflate_ratio: int = Field(
        default=100, gt=0, description="How many times its size a body may inflate to beyond 1 MiB."
    )
    max_records: int = Field(default=20_000, gt=0, description="Most records of one request.")
    max_record_bytes: Bytes = Field(
        default=1 << 20,
        description="A longer line is passed on cut to one byte more, to be refused as too large; "
        "in JSON, a larger record refuses the request.",
    )
    max_held_bytes: Bytes = Field(
        default=16 << 20,
        description="What all requests may hold, as sent and inflated, until it is settled; "
        "beyond that they are answered 429.",
    )
    max_connections: int = Field(
        default=256,
        gt=0,
        description="Beyond that, a new one takes the place of the one whose client has kept us "
        "waiting longest.",
    )
    header_s: Seconds = Field(default=10, description="Deadline of a request's head.")
    body_s: Seconds = Field(default=30, description="Deadline of its body.")
    answer_s: Seconds = Field(
        default=60, description="Records not durable by then: 503, their outcome is unknown."
    )
    idle_s: Seconds = Field(default=75, description="An idle connection is closed after that.")

    @field_validator("listen", mode="before")
    @classmethod
    def _is_address(cls, value: object) -> object:
        text = str(value)  # a port alone is a number in YAML
        if address.parse(text) is None and not text.startswith(MISSING):
            raise ValueError("an address is HOST:PORT, such as 127.0.0.1:8080 or 0.0.0.0:8080")
        return value

    @model_validator(mode="after")
    def _lets_in_whom_it_knows(self) -> Http:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together; give both, or neither")
        known = self.token or self.username or self.tls.client_ca_file
        if not (known or self.address.is_loopback or self.listen.startswith(MISSING)):
            raise ValueError(
                f"listen: {self.listen} is open to the network, and anybody could send: give token "
                "(such as ${HTTP_TOKEN}), username and password, or tls.client_ca_file; or listen "
                "on 127.0.0.1"
            )
        return self

    @property
    def address(self) -> Address:
        """Give where to listen."""
        return address.parse(self.listen) or Address()

    def check_files(self, folder: Path) -> None:
        """Open the files of TLS. Raises UserError."""
        self.tls.context(folder)

    def build(self, setting: Setting) -> HttpSource:
        """Make the source, one that shares its port where there are several workers."""
        from enricher.http.source import HttpSource

        return HttpSource(self, self.tls.context(setting.folder), shared=setting.worker is not None)
