"""An assignment against a model: whatever happens, no commit passes an unsettled record, and in the end all is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import hypothesis.strategies as st
from aiokafka import TopicPartition
from aiokafka.errors import IllegalGenerationError
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from enricher.kafka.assignment import Assignment, Limits, Partition, Piece
from enricher.model import Delivery, Record

TPS = [TopicPartition("t", number) for number in range(2)]
LIMITS = Limits(span_records=6, span_bytes=1000, drain_s=0.0005, commit_s=1)


class Group:
    """The consumer, and the broker's side of the group: logs, committed offsets, who owns what."""

    def __init__(self) -> None:
        self.logs: dict[TopicPartition, list[int]] = {tp: [] for tp in TPS}
        """Offsets that hold a record; compaction and transactions leave gaps."""
        self.offsets: dict[TopicPartition, int] = {}
        """What is committed."""
        self.positions: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.owned: frozenset[TopicPartition] = frozenset()
        self.is_member = True
        self.failing = ""
        """How the next commit fails: `before` or `after` it is applied."""
        self.went_back = False

    def assignment(self) -> frozenset[TopicPartition]:
        return self.owned

    def pause(self, *tps: TopicPartition) -> None:
        assert self.owned.issuperset(tps)
        self.paused |= {*tps}

    def resume(self, *tps: TopicPartition) -> None:
        assert self.owned.issuperset(tps)
        self.paused -= {*tps}

    def seek(self, tp: TopicPartition, offset: int) -> None:
        assert tp in self.owned
        self.positions[tp] = offset

    async def committed(self, tp: TopicPartition) -> int | None:
        return self.offsets.get(tp)

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        assert self.owned.issuperset(offsets)
        failing, self.failing = self.failing, ""
        if failing == "before" or not self.is_member:
            raise IllegalGenerationError
        self.apply(offsets)
        if failing == "after":
            raise TimeoutError

    def apply(self, offsets: dict[TopicPartition, int]) -> None:
        for tp, offset in offsets.items():
            self.went_back |= offset < self.offsets.get(tp, 0)
            self.offsets[tp] = offset

    def ahead(self, tp: TopicPartition, offset: int) -> list[int]:
        return [at for at in self.logs[tp] if at >= offset]


class AssignmentMachine(RuleBasedStateMachine):
    """Deliveries with gaps, completions in any order, revokes, failures, and a second member."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.group = Group()
        self.settled: set[tuple[TopicPartition, int]] = set()
        self.pending: list[Delivery] = []
        """Not acknowledged; also of assignments that are gone."""
        self.ours = self.make()
        self.run(self.assign(frozenset(TPS)))

    def make(self) -> Assignment:
        return Assignment(self.group, LIMITS, lambda: None)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        """In the end everything is settled, and then everything is committed."""
        try:
            self.run(self.finish())
        finally:
            self.loop.close()

    async def finish(self) -> None:
        if self.group.is_member:  # what it has is committed without another assignment
            await self.settle_all()
            for tp, position in self.group.positions.items():
                committed = self.group.offsets.get(tp, 0)
                assert not [at for at in self.group.ahead(tp, committed) if at < position]
        await self.rebalance(frozenset(TPS), [])
        await self.settle_all()
        while any([self.deliver_from(tp, 3) for tp in TPS]):
            await self.settle_all()
        for tp, log in self.group.logs.items():
            assert not log or self.group.offsets[tp] == log[-1] + 1
            assert self.settled.issuperset((tp, offset) for offset in log)

    async def settle_all(self) -> None:
        for delivery in self.pending:
            await self.acknowledge(delivery)
        self.pending.clear()
        self.group.failing = ""
        assert await self.ours.commit()

    async def assign(self, owned: frozenset[TopicPartition]) -> None:
        """Do as aiokafka and the reader: where no offset is sought, read on from the committed one."""
        self.group.owned = owned
        self.group.positions, self.group.paused = {}, set()
        await self.ours.on_partitions_assigned(set(owned))
        for tp in owned - self.group.positions.keys():
            start = self.group.offsets.get(tp)
            if start is None:
                start = self.group.logs[tp][0] if self.group.logs[tp] else 0
                self.ours.partitions[tp] = Partition(tp, start=start)
            self.group.positions[tp] = start

    async def rebalance(self, owned: frozenset[TopicPartition], early: list[Delivery]) -> None:
        """Revoke all, with some deliveries settled during the drain, and assign anew."""
        revoking = asyncio.create_task(self.ours.on_partitions_revoked(set(self.group.owned)))
        await asyncio.sleep(0)
        for delivery in early:
            await self.acknowledge(delivery)
        await revoking
        self.group.is_member = True
        await self.assign(owned)

    async def acknowledge(self, delivery: Delivery) -> None:
        for record in delivery.records:
            self.settled.add((TPS[int(record.stream)], record.position))
        await delivery.acknowledge()

    def deliver_from(self, tp: TopicPartition, count: int) -> bool:
        if tp not in self.group.owned or tp in self.group.paused:
            return False
        offsets = self.group.ahead(tp, self.group.positions[tp])[:count]
        if not offsets:
            return False
        records = [Record(b"", "", None, str(tp.partition), at) for at in offsets]
        self.pending.append(self.ours.deliver([Piece(tp, records, len(records))]))
        self.group.positions[tp] = offsets[-1] + 1
        return True

    @initialize(gaps=st.lists(st.integers(0, 2), min_size=20, max_size=60))
    def produce(self, gaps: list[int]) -> None:
        for number, gap in enumerate(gaps):
            log = self.group.logs[TPS[number % len(TPS)]]
            log.append((log[-1] + 1 if log else 0) + gap)

    @rule(counts=st.tuples(*(st.integers(0, 4) for _ in TPS)))
    def deliver(self, counts: tuple[int, ...]) -> None:
        for tp, count in zip(TPS, counts, strict=True):
            self.deliver_from(tp, count)

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.pending) - 1))
        self.run(self.acknowledge(self.pending.pop(at)))

    @rule(failing=st.sampled_from(["", "", "before", "after"]))
    def commit(self, failing: str) -> None:
        self.group.failing = failing
        if self.run(self.ours.commit()):
            for tp, partition in self.ours.partitions.items():
                assert partition.position in (None, self.group.offsets.get(tp))

    @rule(
        change=st.sampled_from(["revoke", "revoke", "thrown out", "restart"]),
        owned=st.frozensets(st.sampled_from(TPS)),
        counts=st.tuples(*(st.integers(0, 5) for _ in TPS)),
    )
    def change(
        self, change: str, owned: frozenset[TopicPartition], counts: tuple[int, ...]
    ) -> None:
        """The group changes: some deliveries are settled meanwhile, and another member goes on."""
        early = []
        if change == "revoke":
            early, self.pending = self.pending[: counts[0]], self.pending[counts[0] :]
        elif change == "thrown out":  # unnoticed: no commit counts until the next assignment
            self.group.is_member = False
            self.another_member_goes_on(counts)
        else:  # killed, with everything that is not settled
            self.pending.clear()
            self.ours = self.make()
        self.run(self.rebalance(owned, early))
        self.another_member_goes_on(counts)

    def another_member_goes_on(self, counts: tuple[int, ...]) -> None:
        """It reads what we do not own from the committed offset, settles and commits it."""
        for tp, count in zip(TPS, counts, strict=True):
            if tp not in self.group.owned or not self.group.is_member:
                for at in self.group.ahead(tp, self.group.offsets.get(tp, 0))[:count]:
                    self.settled.add((tp, at))
                    self.group.apply({tp: at + 1})

    @invariant()
    def no_offset_goes_back(self) -> None:
        assert not self.group.went_back

    @invariant()
    def no_commit_passes_an_unsettled_record(self) -> None:
        for tp, committed in self.group.offsets.items():
            below = [(tp, at) for at in self.group.logs[tp] if at < committed]
            assert self.settled.issuperset(below)

    @invariant()
    def a_partition_with_room_is_not_paused(self) -> None:
        for tp in self.group.paused:
            assert self.ours.partitions[tp].mark.records > LIMITS.span_records // 2


AssignmentMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None
)
TestAssignment = AssignmentMachine.TestCase
