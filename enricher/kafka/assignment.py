"""What this member of a consumer group owns, and how far each partition is settled.

The order on a revoke matters: drain first, fence second, per partition. Fencing before the drain
would throw finished work away; a fence for all partitions would discard those that are kept.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from enricher.model import Delivery, Record
from enricher.waiting import Reminder
from enricher.watermark import Span, Watermark

log = structlog.get_logger(__name__)


class Piece(NamedTuple):
    """Records of one partition, not delivered yet."""

    partition: TopicPartition
    records: Sequence[Record]
    size: int


@dataclass(slots=True, eq=False)
class Partition:
    """One partition, from its assignment until it is fenced (dropped from the assignment).

    The object is the fence: a completion that comes late settles a mark that nobody reads.
    """

    tp: TopicPartition
    mark: Watermark = field(default_factory=Watermark)
    start: int | None = None
    """Where reading began, when no offset was committed or the committed one was out of range."""
    committed: int | None = None
    paused: bool = False

    @property
    def position(self) -> int | None:
        """The offset to commit, or None when there is nothing to say."""
        return self.start if self.mark.position is None else self.mark.position

    @property
    def resume_at(self) -> int | None:
        """The next offset to deliver, or None when only the broker knows."""
        return self.start if self.mark.next is None else self.mark.next

    @property
    def unfinished(self) -> bool:
        """Whether something is not settled, or settled and not committed."""
        return bool(self.mark.outstanding) or self.position != self.committed


class Limits(NamedTuple):
    """Bounds of an assignment."""

    span_records: int
    span_bytes: int
    drain_s: float
    commit_s: float
    """How long one commit may take, in seconds."""


@dataclass(slots=True)
class Counts:
    """What happened since the start of the process, for whoever watches."""

    commits: int = 0
    failed_commits: int = 0
    out_of_range: int = 0
    """Committed offsets that the log no longer had."""


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """The partitions that are owned now.

    Args:
        consumer: A started AIOKafkaConsumer, not subscribed yet.
        limits: When to pause a partition, and how long to wait on a revoke.
        on_revoke: Called first on a revoke; throws away what was fetched and not delivered.
        counts: Counted on, where there was an assignment before.
    """

    def __init__(
        self,
        consumer: Any,
        limits: Limits,
        on_revoke: Callable[[], None],
        counts: Counts | None = None,
    ) -> None:
        self.partitions: dict[TopicPartition, Partition] = {}
        self.stable = asyncio.Event()
        """Set while partitions are owned. A commit in between can keep a rebalance from ever
        ending, so only the revoke's own is sent then."""
        self.assigned = False
        """Whether the group has ever said what is owned, be it nothing."""
        self.closing = False
        self.counts = counts or Counts()
        self._consumer = consumer
        self._limits = limits
        self._on_revoke = on_revoke
        self._progress = asyncio.Event()
        self._committing = asyncio.Lock()
        self._reminder = Reminder()

    def deliver(self, pieces: Sequence[Piece]) -> Delivery:
        """Make a delivery of records, whose acknowledgement moves the watermarks."""
        records: list[Record] = []
        spans: list[tuple[Partition, Span]] = []
        size = 0
        now = time.monotonic()
        for piece in pieces:
            partition = self._current(piece)
            first, last = piece.records[0].position, piece.records[-1].position
            span = partition.mark.deliver(first, last, len(piece.records), piece.size, now)
            spans.append((partition, span))
            records += piece.records
            size += piece.size
            self._pause_if_full(partition)
        return Delivery(records, partial(self._acknowledge, spans), size)

    def _current(self, piece: Piece) -> Partition:
        partition = self.partitions.get(piece.partition)
        follows = partition is not None and piece.records[0].position >= (partition.mark.next or 0)
        if partition is None or not follows:  # the log was cut off or made anew: fence the old one
            partition = self.partitions[piece.partition] = Partition(piece.partition)
        return partition

    async def _acknowledge(self, spans: Iterable[tuple[Partition, Span]]) -> None:
        for partition, span in spans:
            partition.mark.settle(span)
            if partition.paused:
                self._resume_if_room(partition)
        self._progress.set()

    def _pause_if_full(self, partition: Partition) -> None:
        mark, limits = partition.mark, self._limits
        full = mark.records >= limits.span_records or mark.size >= limits.span_bytes
        if full and partition.tp in self._consumer.assignment():
            partition.paused = True
            self._consumer.pause(partition.tp)

    def _resume_if_room(self, partition: Partition) -> None:
        mark, limits = partition.mark, self._limits
        if 2 * mark.records > limits.span_records or 2 * mark.size > limits.span_bytes:
            return
        partition.paused = False
        ours = self.partitions.get(partition.tp) is partition and self.stable.is_set()
        if ours and partition.tp in self._consumer.assignment():
            self._consumer.resume(partition.tp)

    @property
    def outstanding(self) -> int:
        """Spans that are delivered and not settled."""
        return sum(partition.mark.outstanding for partition in self.partitions.values())

    @property
    def unfinished(self) -> bool:
        """Whether something is not settled, or settled and not committed."""
        return any(partition.unfinished for partition in self.partitions.values())

    async def commit(self) -> bool:
        """Commit every watermark that moved; False when the broker did not take it.

        A failure is never fatal: the offsets stay for the next time.
        """
        async with self._committing:
            owned = self._consumer.assignment()
            moved = [
                (partition, partition.position)
                for partition in self.partitions.values()
                if partition.tp in owned and partition.position not in (None, partition.committed)
            ]
            if not moved:
                return True
            try:
                async with asyncio.timeout(self._limits.commit_s):
                    await self._consumer.commit({partition.tp: at for partition, at in moved})
            except Exception as error:  # noqa: BLE001 - aiokafka asserts, too
                self.counts.failed_commits += 1
                if self._reminder.due("commit"):
                    log.warning("offsets not committed; kept for later", error=repr(error))
                return False
            self.counts.commits += 1
            for partition, at in moved:
                partition.committed = at
            return True

    async def commit_at_intervals(self, seconds: float) -> None:
        """Commit for ever, also when nothing new arrives, except while the group rebalances."""
        while True:
            await asyncio.sleep(seconds)
            if self.stable.is_set():
                await self.commit()

    async def hand_over(self) -> None:
        """Stop delivering, wait for what is delivered (up to the deadline), and commit it."""
        self.stable.clear()
        self._on_revoke()
        deadline = asyncio.get_running_loop().time() + self._limits.drain_s
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while self.outstanding and not self.closing:
                    self._progress.clear()
                    await self._progress.wait()
        if self.outstanding:
            log.warning("partitions given up before all was settled", spans=self.outstanding)
        await self.commit()

    def close(self) -> None:
        """End a drain that is going on: what is not settled by now stays uncommitted."""
        self.closing = True
        self._progress.set()

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Drain and commit; aiokafka waits for it before it joins again."""
        try:
            await self.hand_over()
        except Exception:  # aiokafka would swallow it
            log.exception("revoke failed", partitions=len(revoked))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Fence what went away; go on where we were with what is kept and unfinished."""
        kept = {
            tp: partition
            for tp, partition in self.partitions.items()
            if tp in assigned and partition.unfinished and partition.resume_at is not None
        }
        self._consumer.pause(*kept)  # nothing is fetched before it is known where from
        try:
            for tp, partition in list(kept.items()):
                if await self._is_still_ours(partition):
                    self._consumer.seek(tp, partition.resume_at)
                else:
                    del kept[tp]
        except Exception:  # aiokafka would swallow it
            log.exception("assignment failed", partitions=len(assigned))
            kept.clear()
        self.partitions = {tp: kept.get(tp) or Partition(tp) for tp in assigned}
        owned = self._consumer.assignment()
        paused = {tp for tp, partition in self.partitions.items() if partition.paused}
        self._consumer.resume(*(owned - paused))
        self.assigned = True
        self.stable.set()
        counts = dict(sorted(Counter(tp.topic for tp in assigned).items()))
        log.info("partitions assigned", partitions=counts, kept=len(kept))

    async def _is_still_ours(self, partition: Partition) -> bool:
        # Thrown out of the group for a while, we may find that another member went further.
        try:
            async with asyncio.timeout(self._limits.commit_s):
                committed = await self._consumer.committed(partition.tp)
        except (KafkaError, TimeoutError):
            return False
        unsettled = partition.mark.unsettled
        return committed is None or (unsettled is not None and committed <= unsettled)
