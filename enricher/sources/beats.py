"""Take events from Beats, Filebeat for one, and from whatever else speaks Lumberjack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from enricher import address
from enricher.address import Address
from enricher.document import MISSING
from enricher.path import FieldPath
from enricher.sources.base import Setting, SourceModel
from enricher.sources.tls import ServerTls

if TYPE_CHECKING:
    from enricher.beats.server import BeatsSource


class Beats(SourceModel):
    """Listen for Beats (Lumberjack); a batch is acknowledged only once it is durable.

    An event's id is `<name>@<id>` with the id that its sender gave it in `id_field`: then it is
    written once, however often it is sent. Filebeat gives it with its processor `fingerprint`
    (`fields: [agent.id, log.file.path, log.offset, message]`, `target_field: "@metadata._id"`),
    or with `add_id`, which does not outlast a restart of Filebeat. An event without such an id is
    written at least once: again where a connection is lost, or this process, before the batch is
    acknowledged.

    While a batch is being settled its sender is told so every few seconds; while nothing can be
    written, nothing is read, and no sender gives up. An event's time is checked against its
    arrival, which stands in where it has none: sent again on another day, such an event is in two
    indices. The line that Filebeat read stands in `message`: `json: {envelope: message}` opens it.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "beats: {}",
        """\
beats:
  listen: 0.0.0.0:5044
  tls: {certificate_file: server.pem, key_file: server.key, client_ca_file: clients.pem}
  id_field: event.id""",
    )

    listen: str = Field(
        default="127.0.0.1:5044",
        description="`HOST:PORT`. Port 0 takes a free one, the log tells which.",
    )
    name: str = Field(
        default="beats",
        pattern=r"^[a-zA-Z0-9._-]{1,64}$",
        description="Of this source, in logs and metrics, and before every id.",
    )
    tls: ServerTls = Field(
        default=ServerTls(),
        description="Any address but loopback needs it; else there is a warning.",
    )
    id_field: FieldPath = Field(
        default="@metadata._id",
        description="Where an event's id stands, a text or an integer; not inside an envelope.",
    )
    max_record_bytes: int = Field(
        default=1 << 20,
        gt=0,
        le=10 << 20,
        description="A longer event is passed on cut to one byte more, to be refused as too large.",
    )
    max_bytes: int = Field(
        default=16 << 20,
        gt=0,
        description="Bytes that are taken and not settled, at most; a quarter for one connection.",
    )
    max_connections: int = Field(
        default=2000,
        gt=0,
        description="Beyond that, a new one takes the place of the one whose sender has kept us "
        "waiting longest.",
    )
    read_timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds for a TLS handshake, and for the next event of a window that is open.",
    )
    idle_timeout_s: float = Field(
        default=300.0, gt=0, description="Seconds between two windows; then the sender reconnects."
    )
    keepalive_s: float = Field(
        default=5.0, gt=0, description="Seconds between two words to a sender that waits."
    )

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if address.parse(value) is None and not value.startswith(MISSING):
            raise ValueError("an address is HOST:PORT, such as 127.0.0.1:5044 or 0.0.0.0:5044")
        return value

    def check_files(self, folder: Path) -> None:
        """Open the files of TLS. Raises UserError."""
        self.tls.context(folder)

    def build(self, setting: Setting) -> BeatsSource:
        """Make the source; workers share its port. Raises UserError for an unusable TLS file."""
        from enricher.beats.identity import identify
        from enricher.beats.limits import Limits
        from enricher.beats.server import BeatsSource, Settings

        settings = Settings(
            address=address.parse(self.listen) or Address(),
            tls=self.tls.context(setting.folder),
            limits=Limits(record=self.max_record_bytes),
            shared=setting.worker is not None,
            max_connections=self.max_connections,
            max_bytes=self.max_bytes,
            read_timeout_s=self.read_timeout_s,
            idle_timeout_s=self.idle_timeout_s,
            keepalive_s=self.keepalive_s,
        )
        identity = identify(f"{self.name}@", self.id_field, self.max_record_bytes)
        return BeatsSource(self.name, settings, identity)
