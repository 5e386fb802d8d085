"""How far each owned partition is behind its end, also while nothing is fetched from it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from enricher.kafka.assignment import Assignment, Partition, Piece
from enricher.kafka.cluster import unreachable
from enricher.model import Progress

EVERY_S = 5.0
_PATIENCE_S = 10.0


class Lag:
    """Asks the brokers now and then where the partitions end.

    What comes with fetched records is not enough: nothing is fetched while the pipeline waits
    for Elasticsearch, which is when the lag grows.

    Args:
        consumer: A started AIOKafkaConsumer.
        group: What it owns.
        ready: What is fetched and not delivered.
        brokers: Their addresses, for the text.
    """

    def __init__(
        self,
        consumer: Any,
        group: Assignment,
        ready: Iterable[Sequence[Piece]],
        brokers: Sequence[str],
    ) -> None:
        self.unreachable: str | None = None
        """Why the brokers do not answer; None while they do."""
        self._consumer = consumer
        self._group = group
        self._ready = ready
        self._brokers = brokers
        self._ends: dict[TopicPartition, int] = {}

    async def ask_at_intervals(self, seconds: float = EVERY_S) -> None:
        """Ask for ever; that nobody answers is noted, too."""
        while True:
            await asyncio.sleep(seconds)
            owned = list(self._consumer.assignment())
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    if owned:
                        self._ends = await self._consumer.end_offsets(owned)
                    else:
                        await self._consumer.topics()
                self.unreachable = None
            except TimeoutError:
                self.unreachable = unreachable(self._brokers, f"no answer in {_PATIENCE_S:g} s")
            except (KafkaError, OSError) as error:
                self.unreachable = unreachable(self._brokers, str(error) or type(error).__name__)

    def progress(self) -> list[Progress]:
        """Give the state of every partition that is owned, in order."""
        now = time.monotonic()
        owned = self._consumer.assignment()
        found = []
        for tp, partition in self._group.partitions.items():
            watermark = end = None
            if tp in owned:
                watermark = self._watermark(partition)
                end = max(self._consumer.highwater(tp) or -1, self._ends.get(tp, -1))
            known = watermark is not None and end is not None and end >= 0
            lag = max(0, end - watermark) if known else None  # type: ignore[operator]
            since = partition.mark.waiting_since
            age_s = 0.0 if since is None else now - since
            found.append(Progress(tp.topic, tp.partition, watermark, lag, age_s))
        return sorted(found)

    def _watermark(self, partition: Partition) -> int | None:
        """Give the offset below which all is settled, as far as it is known before a commit."""
        at = partition.mark.unsettled if partition.position is None else partition.position
        if at is not None:
            return at
        for piece in (piece for pieces in self._ready for piece in pieces):
            if piece.partition == partition.tp:
                return piece.records[0].position
        state = self._consumer._subscription.subscription.assignment.state_value(  # noqa: SLF001
            partition.tp
        )
        position: int | None = state.position if state.has_valid_position else None
        return position
