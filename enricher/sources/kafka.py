"""Read Kafka topics as a member of a consumer group."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import structlog
from aiokafka import AIOKafkaConsumer
from pydantic import BaseModel, Field

from enricher import brokers
from enricher.assignment import Assignment, Limits, Piece
from enricher.connections import STRICT, KafkaConnection
from enricher.model import Delivery
from enricher.sources.kafka_reader import Reader

log = structlog.get_logger(__name__)

_NEVER_MS = 2**31 - 1
_METADATA_MS = 30_000
"""How soon new partitions are noticed."""
_TOPICS_S = 5.0
_FAILURES = 20
"""Failed polls in a row (about a second each) after which the consumer is made anew."""

Topic = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]
Milliseconds = Annotated[int, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]


class Kafka(BaseModel):
    """Read Kafka topics; offsets are committed only once their records are settled.

    Several processes with one `group` share the partitions. A record's id is
    `topic-partition-offset-timestamp`, so that reading again writes the same documents.
    """

    model_config = STRICT
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
        default=8 << 20, description="Most bytes of one answer of a broker."
    )
    max_partition_fetch_bytes: Bytes = Field(
        default=1 << 20,
        description="Most bytes a partition; fetched ahead, that much is held for each of them.",
    )
    span_max_records: int = Field(
        default=100_000,
        gt=0,
        description="A partition is paused when that many records wait behind an unsettled one.",
    )
    span_max_bytes: Bytes = Field(default=64 << 20, description="The same, in raw bytes.")
    session_timeout_ms: Milliseconds = Field(
        default=45_000, description="A member that is silent for so long has left the group."
    )
    rebalance_timeout_ms: Milliseconds = Field(
        default=60_000,
        description="How long members may take to give partitions up; 60 % of it to drain.",
    )
    group_instance_id: str | None = Field(
        default=None, description="Static membership: a quick restart causes no rebalance."
    )

    def build(self, connection: KafkaConnection) -> KafkaSource:
        """Make the source. Raises OSError for a missing TLS file."""
        return KafkaSource(self, connection)

    def consumer_options(self) -> dict[str, Any]:
        """Give the keyword arguments of AIOKafkaConsumer, besides the connection's."""
        return {
            "client_id": f"enricher-{self.group}",
            "group_id": self.group,
            "group_instance_id": self.group_instance_id,
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


class KafkaSource:
    """A member of a consumer group, over AIOKafkaConsumer (see `Kafka` for what is set)."""

    def __init__(self, config: Kafka, connection: KafkaConnection) -> None:
        self.name = config.name
        self.blocked: str | None = f"{config.name}: not connected yet"
        """Why nothing can be read at the moment, for readiness."""
        self._config = config
        self._brokers = connection.brokers
        options = connection.client_options() | config.consumer_options()
        self._make = partial(AIOKafkaConsumer, **options)
        self._ready: deque[list[Piece]] = deque()
        self._consumer: Any = None
        self._group: Assignment | None = None
        self._reader: Reader | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._stopped: asyncio.Future[None] | None = None
        self._reminder = brokers.Reminder()

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield deliveries until `stop()`; not to be called twice.

        Not pulling it is the backpressure: the membership of the group survives that.
        """
        self._stopped = asyncio.get_running_loop().create_future()
        await self._unless_stopped(self._start())
        while not self._stopping:
            assert self._group is not None
            assert self._reader is not None
            if self._ready:
                yield self._group.deliver(self._ready.popleft())
            elif self._reader.failures >= _FAILURES:
                await self._unless_stopped(self._restart())
            else:
                await self._unless_stopped(self._reader.poll())

    def stop(self) -> None:
        """Make `deliveries()` end; acknowledgements still count until `close()`."""
        self._stopping = True
        if self._stopped is not None and not self._stopped.done():
            self._stopped.set_result(None)

    async def close(self) -> None:
        """Commit what is settled and leave the group; takes seconds if the broker is away."""
        self.stop()
        await self._leave()

    async def commit(self) -> bool:
        """Commit what is settled now; False when that has to wait (a rebalance, a failure)."""
        return (
            self._group is not None and self._group.stable.is_set() and await self._group.commit()
        )

    @property
    def out_of_range(self) -> int:
        """Committed offsets that the log no longer had, since the start."""
        return self._reader.out_of_range if self._reader else 0

    @property
    def partitions(self) -> list[str]:
        """The partitions that are owned now, as `topic/partition`."""
        owned = self._group.partitions if self._group else ()
        return sorted(f"{tp.topic}/{tp.partition}" for tp in owned)

    def lag(self) -> dict[str, int]:
        """Give the number of offsets not settled yet by `topic/partition`, as far as known."""
        found: dict[str, int] = {}
        if self._group is None:
            return found
        owned = self._consumer.assignment()
        for tp, partition in self._group.partitions.items():
            end = self._consumer.highwater(tp) if tp in owned else None
            if end is not None and partition.position is not None:
                found[f"{tp.topic}/{tp.partition}"] = max(0, end - partition.position)
        return found

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        if self._stopping or self._stopped is None:
            work.close()
            return
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, self._stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    async def _start(self) -> None:
        config = self._config
        consumer = await brokers.start(self._make, self._brokers)
        timeout_s = config.rebalance_timeout_ms / 1000
        limits = Limits(
            config.span_max_records, config.span_max_bytes, 0.6 * timeout_s, 0.2 * timeout_s
        )
        group = Assignment(consumer, limits, self._ready.clear)
        self._consumer, self._group = consumer, group
        self._reader = Reader(
            consumer,
            group,
            self._ready,
            max_records=config.max_records,
            max_bytes=config.max_bytes,
            prefix=f"{config.source_id}:" if config.source_id else "",
            latest=config.auto_offset_reset == "latest",
        )
        self._tasks = [
            asyncio.create_task(group.commit_at_intervals(config.commit_interval_s)),
            asyncio.create_task(self._subscribe(consumer, group)),
        ]

    async def _restart(self) -> None:
        log.error("reading failed again and again; joining the group anew", source=self.name)
        await self._leave()
        await self._start()

    async def _leave(self) -> None:
        tasks, self._tasks = self._tasks, []
        consumer, self._consumer = self._consumer, None
        group, self._group = self._group, None
        self._ready.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if consumer is None or group is None:
            return
        group.close()
        if group.stable.is_set():
            await group.commit()
        await brokers.stop(consumer)

    async def _subscribe(self, consumer: Any, group: Assignment) -> None:
        """Subscribe to the topics that exist, and to the others once they do.

        Naming a missing topic would make a broker with `auto.create.topics.enable` create it.
        """
        wanted, joined = set(self._config.topics), set[str]()
        while joined != wanted:
            try:
                found = wanted & await consumer.topics()
                if found - joined:
                    if joined:
                        await group.hand_over()  # once it is subscribed, nothing can be committed
                    joined |= found
                    consumer.subscribe(list(joined), listener=group)
                    self.blocked = None
            except Exception as error:  # noqa: BLE001 - a task that died would never be noticed
                log.warning("topics cannot be listed", source=self.name, error=repr(error))
            if missing := wanted - joined:
                self._say_missing(missing, alone=not joined)
                await asyncio.sleep(_TOPICS_S if joined else 1.0)

    def _say_missing(self, topics: set[str], *, alone: bool) -> None:
        text = (
            f"{self.name}: kafka has no topic {', '.join(sorted(topics))} (or does not show it "
            "to this user); waiting; check the topics of the source"
        )
        if alone:
            self.blocked = text
        if self._reminder.due("topics"):
            log.warning(text)
