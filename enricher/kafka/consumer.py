"""A member of a consumer group, as a source."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import AIOKafkaConsumer

from enricher.connections import KafkaConnection
from enricher.kafka import cluster
from enricher.kafka.assignment import Assignment, Counts, Limits, Piece
from enricher.kafka.lag import Lag
from enricher.kafka.reader import Reader
from enricher.model import Delivery, Progress
from enricher.waiting import Reminder

if TYPE_CHECKING:
    from enricher.sources.kafka import Kafka

log = structlog.get_logger(__name__)

_TOPICS_S = 5.0
_FAILURES = 20
"""Failed polls in a row (about a second each) after which the consumer is made anew."""


class KafkaSource:
    """A member of a consumer group, over AIOKafkaConsumer (see `Kafka` for what is set)."""

    def __init__(
        self, config: Kafka, connection: KafkaConnection, worker: int | None = None
    ) -> None:
        self.name = config.name
        self.counts = Counts()
        self._config = config
        self._brokers = connection.brokers
        options = connection.client_options() | config.consumer_options(worker)
        self._make = partial(AIOKafkaConsumer, **options)
        self._ready: deque[list[Piece]] = deque()
        self._consumer: Any = None
        self._group: Assignment | None = None
        self._reader: Reader | None = None
        self._lag: Lag | None = None
        self._missing: str | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._stopped: asyncio.Future[None] | None = None
        self._reminder = Reminder()

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
        group = self._group
        if group is None:
            return self._reader is None  # never connected: nothing was read
        if not group.unfinished:
            return True
        return group.stable.is_set() and await group.commit()

    @property
    def blocked(self) -> str | None:
        """Why nothing can be read at the moment, for readiness."""
        if self._group is None or self._lag is None:
            return f"{self.name}: not connected to kafka yet"
        if not self._group.assigned:
            return self._missing or f"{self.name}: the group has not assigned partitions yet"
        return self._lag.unreachable

    def progress(self) -> list[Progress]:
        """Give how far each partition that is owned now is settled, in order."""
        return [] if self._lag is None else self._lag.progress()

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
        consumer = await cluster.start(self._make, self._brokers)
        timeout_s = config.rebalance_timeout_ms / 1000
        limits = Limits(
            config.span_max_records, config.span_max_bytes, 0.6 * timeout_s, 0.2 * timeout_s
        )
        group = Assignment(consumer, limits, self._ready.clear, self.counts)
        self._consumer, self._group = consumer, group
        self._lag = Lag(consumer, group, self._ready, self._brokers)
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
            asyncio.create_task(self._lag.ask_at_intervals()),
        ]

    async def _restart(self) -> None:
        log.error("reading failed again and again; joining the group anew", source=self.name)
        await self._leave()
        await self._start()

    async def _leave(self) -> None:
        tasks, self._tasks = self._tasks, []
        consumer, self._consumer = self._consumer, None
        group, self._group = self._group, None
        self._lag = None
        self._ready.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if consumer is None or group is None:
            return
        group.close()
        if group.stable.is_set():
            await group.commit()
        await cluster.stop(consumer)

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
                    self._missing = None
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
            self._missing = text
        if self._reminder.due("topics"):
            log.warning(text)
