"""Read Kafka topics as a member of a consumer group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from enricher.model import UserError
from enricher.sources.base import Setting, SourceModel

if TYPE_CHECKING:
    from enricher.kafka.consumer import KafkaSource

_NEVER_MS = 2**31 - 1
_METADATA_MS = 30_000
"""How soon new partitions are noticed."""

Topic = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]
Milliseconds = Annotated[int, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]


class Kafka(SourceModel):
    """Read Kafka topics; offsets are committed only once their records are settled.

    Several processes with one `group` share the partitions. A record's id is
    `topic-partition-offset-timestamp`, so that reading again writes the same documents.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "kafka: {topics: [payment-logs, order-logs], group: enricher-payments}",
        "kafka: {topics: [audit], group: enricher-audit, source_id: pune, max_bytes: 524288}",
    )

    topics: list[Topic] = Field(min_length=1, description="Names of topics; all are joined.")
    group: str = Field(min_length=1, description="Consumer group that the offsets belong to.")
    name: str = Field(default="kafka", description="Of this source, in logs and metrics.")
    source_id: str | None = Field(
        default=None,
        pattern=r"^[a-zA-Z0-9._-]{1,64}$",
        description="Put before every record's id; needed when clusters share topic names.",
    )
    auto_offset_reset: Literal["earliest", "latest"] = Field(
        default="earliest", description="Where a group without offsets begins."
    )
    commit_interval_s: float = Field(default=1.0, gt=0, description="Seconds between commits.")
    max_records: int = Field(default=1000, gt=0, description="Most records of one delivery.")
    max_bytes: Bytes = Field(default=1 << 20, description="Most raw bytes of one delivery.")
    fetch_max_bytes: Bytes = Field(
        default=2 << 20, description="Most bytes of one answer of a broker."
    )
    max_partition_fetch_bytes: Bytes = Field(
        default=128 << 10,
        description="Most bytes a partition as they lie on the broker; fetched ahead, that much, "
        "inflated, is held for each of them.",
    )
    span_max_records: int = Field(
        default=100_000,
        gt=0,
        description="A partition is paused when that many records wait behind an unsettled one.",
    )
    span_max_bytes: Bytes = Field(default=64 << 20, description="The same, in raw bytes.")
    session_timeout_ms: Milliseconds = Field(
        default=15_000, description="A member that is silent for so long has left the group."
    )
    rebalance_timeout_ms: Milliseconds = Field(
        default=60_000,
        description="How long members may take to give partitions up; 60 % of it to drain.",
    )
    group_instance_id: str | None = Field(
        default=None, description="Static membership: a quick restart causes no rebalance."
    )

    def build(self, setting: Setting) -> KafkaSource:
        """Make the source, of one of several workers. Raises UserError for an unusable TLS file."""
        from enricher.kafka.consumer import KafkaSource

        if setting.connections.kafka is None:
            raise UserError("needs connections.kafka; with --local give files to read instead")
        return KafkaSource(self, setting.connections.kafka, setting.worker)

    def consumer_options(self, worker: int | None = None) -> dict[str, Any]:
        """Give the keyword arguments of AIOKafkaConsumer, besides the connection's."""
        suffix = "" if worker is None else f"-{worker}"
        instance = self.group_instance_id
        return {
            "client_id": f"enricher-{self.group}{suffix}",
            "group_id": self.group,
            "group_instance_id": f"{instance}{suffix}" if instance else None,
            "enable_auto_commit": False,
            # aiokafka would reset an offset that is out of range in silence; we do it aloud.
            "auto_offset_reset": "none",
            "isolation_level": "read_committed",
            "fetch_max_bytes": self.fetch_max_bytes,
            "max_partition_fetch_bytes": self.max_partition_fetch_bytes,
            "session_timeout_ms": self.session_timeout_ms,
            "heartbeat_interval_ms": min(3000, max(1, self.session_timeout_ms // 3)),
            "rebalance_timeout_ms": self.rebalance_timeout_ms,
            # aiokafka leaves the group when getmany() was not called for so long. Backpressure
            # may last for hours, heartbeats go on by themselves: never leave.
            "max_poll_interval_ms": _NEVER_MS,
            "metadata_max_age_ms": _METADATA_MS,
        }
