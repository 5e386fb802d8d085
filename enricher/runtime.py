"""Run a plan: read, enrich, write, acknowledge.

The unit is the delivery. It is enriched at once, on the event loop; then one task writes its
documents to every sink, writes what was refused to the dead letters, and only then acknowledges.
A delivery whose task fails is never acknowledged: it is read again after a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from enricher import writes
from enricher.budget import Budget
from enricher.lookups.store import Lookups, NoLookups
from enricher.model import (
    DeadLetter,
    DeadLetterSink,
    Delivery,
    Document,
    Outcome,
    Output,
    OutputSink,
    Record,
    Sink,
    Source,
)
from enricher.tally import Reloads, Tally

SAMPLE_EVERY = 128
"""One delivery in so many goes through the plan stage by stage, to know what each costs."""
WARM = 4
"""The delivery from which on caches are warm; the first is measured in case it stays alone."""


class Processor(Protocol):
    """What the runtime needs of a plan."""

    async def process(self, records: Sequence[Record]) -> list[Outcome]:
        """Give every record its one outcome."""
        ...

    async def process_timed(
        self, records: Sequence[Record], cost_ns: dict[str, int]
    ) -> list[Outcome]:
        """Do the same, and add up the cost of each stage in nanoseconds."""
        ...


@dataclass(slots=True)
class Runtime:
    """Everything that one run needs; `run()` does it."""

    plan: Processor
    sources: Sequence[Source]
    sinks: Mapping[str, Sink]
    dead_letters: DeadLetterSink
    budget: Budget
    output_sinks: Mapping[str, OutputSink] = field(default_factory=dict)
    """What outputs are written to; empty where the plan has none."""
    lookups: Lookups = field(default_factory=NoLookups)
    """What the plan asks; closed in the end."""
    tally: Tally = field(default_factory=Tally)
    on_alerts: Callable[[Sequence[Document]], None] | None = None
    """Gets the documents of a settled delivery that alerts matched; never waits."""
    mask: Callable[[list[DeadLetter]], list[DeadLetter]] | None = None
    """Hides personal data in dead letters before they are kept; called in a thread."""
    drain_s: float = 30.0
    """How long the deliveries under way may take once reading has stopped: what waits in the
    plan, and what is being written."""
    pipeline: str = ""
    """Name of the plan, for whoever watches; so are the rest."""
    digest: str = ""
    reloads: Reloads = field(default_factory=Reloads)
    unverified: Sequence[str] = ()
    """Connections whose certificates are not checked."""
    opened: bool = False
    """Whether every sink is connected."""
    _settling: set[asyncio.Task[None]] = field(default_factory=set)
    _failures: list[BaseException] = field(default_factory=list)
    _deliveries: int = 0
    _under_way: int = 0
    _quiet: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no delivery is between the gate and its end."""
    _gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while what the sources yield may go on to the plan."""
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once reading stops."""
    _ended_at: float | None = None
    """By the clock of the loop."""

    def __post_init__(self) -> None:
        """Begin with the gate open and nothing under way."""
        self._gate.set()
        self._quiet.set()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Hold back what is read while all that went before is settled and committed.

        Nothing is held back any more once reading has ended.
        """
        try:
            while True:
                if not self._ended.is_set():
                    self._gate.clear()
                await self._quiet.wait()
                if all([await source.commit() for source in self.sources]):
                    break
                self._gate.set()  # a rebalance waits for what is held back, and ends only then
                await asyncio.sleep(1.0)
            yield
        finally:
            self._gate.set()

    async def run(self, stopping: asyncio.Event) -> bool:
        """Run until the sources end or `stopping` is set.

        Returns:
            Whether everything that was read is settled; False when the drain's deadline passed.

        Raises:
            ExceptionGroup: of what a source, a sink or the plan could not go on from.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.lookups.close)
            sinks: list[Sink | OutputSink | DeadLetterSink]
            sinks = [*self.sinks.values(), *self.output_sinks.values(), self.dead_letters]
            for sink in sinks:
                stack.push_async_callback(sink.close)
            if not await _unless(stopping, _open(sinks)):
                return True
            self.opened = True
            for source in self.sources:
                stack.push_async_callback(source.close)
            is_all_enriched = await self._read(stopping)
            return await self._drain() and is_all_enriched

    @property
    def in_flight(self) -> int:
        """Deliveries that are read and not settled."""
        return len(self._settling)

    async def _read(self, stopping: asyncio.Event) -> bool:
        """Read until every source has ended; one that fails ends the others in order.

        Returns whether each did by itself; False where the drain's deadline passed before that.
        """
        stoppers = [asyncio.create_task(self._stop_when(stopping))]
        readers = [asyncio.create_task(self._pump(source)) for source in self.sources]
        stoppers.append(asyncio.create_task(self._give_up(readers)))
        for reader in readers:
            reader.add_done_callback(self._note_failure)
        try:
            await asyncio.wait(readers)
            return not any(reader.cancelled() for reader in readers)
        finally:
            for task in (*stoppers, *readers):
                task.cancel()
            await asyncio.wait([*stoppers, *readers])

    async def _stop_when(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._stop_reading()

    async def _give_up(self, readers: Sequence[asyncio.Task[None]]) -> None:
        """End what still waits in the plan at the deadline: it is not acknowledged."""
        await self._ended.wait()
        await asyncio.sleep(self.drain_s)
        for reader in readers:
            reader.cancel()

    def _stop_reading(self) -> None:
        self._ended.set()
        self._ended_at = self._ended_at or asyncio.get_running_loop().time()
        self._gate.set()
        for source in self.sources:
            source.stop()
        self.budget.release()

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        """Stop reading where a source or a delivery failed: it must not be overtaken for long."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failures.append(error)
            self._stop_reading()

    async def _pump(self, source: Source) -> None:
        async for delivery in source.deliveries():
            await self._gate.wait()
            self._under_way += 1
            self._quiet.clear()
            outcomes = await self._enrich(delivery.records)
            outputs = writes.outputs_of(outcomes) if self.output_sinks else []
            size = writes.footprint(delivery, outcomes, outputs)
            self.budget.take(size, len(delivery.records))
            task = asyncio.create_task(self._settle(delivery, outcomes, outputs, size))
            self._settling.add(task)
            task.add_done_callback(self._end)
            task.add_done_callback(self._note_failure)
            await asyncio.sleep(0)  # lets the writers and the heartbeats have their turn
            await self.budget.wait()

    def _end(self, task: asyncio.Task[None]) -> None:
        self._settling.discard(task)
        self._under_way -= 1
        if not self._under_way:
            self._quiet.set()

    async def _enrich(self, records: Sequence[Record]) -> list[Outcome]:
        self._deliveries += 1
        self.tally.read += len(records)
        if self._deliveries != 1 and self._deliveries % SAMPLE_EVERY != WARM:
            return await self.plan.process(records)
        if self._deliveries == WARM:
            self.tally.cost_ns.clear()
            self.tally.sampled = 0
        self.tally.sampled += len(records)
        return await self.plan.process_timed(records, self.tally.cost_ns)

    async def _settle(
        self, delivery: Delivery, outcomes: list[Outcome], outputs: list[Output], size: int
    ) -> None:
        """Write a delivery's outcomes and acknowledge it, whatever it takes."""
        try:
            documents: list[Document] = [one for one in outcomes if type(one) is Document]
            letters: list[DeadLetter] = [one for one in outcomes if type(one) is DeadLetter]
            refused = await writes.write(
                documents, outputs, self.sinks, self.output_sinks, self.tally
            )
            if refused:
                made = writes.dead_letters_of(refused)
                letters += made
                outcomes = writes.replaced(outcomes, made)
            if letters:
                if self.mask:
                    letters = await asyncio.to_thread(self.mask, letters)
                await self.dead_letters.write(letters)
            await delivery.acknowledge()
        finally:
            self.budget.give_back(size, len(delivery.records))
        self.tally.records += len(delivery.records)
        alerting = self.tally.add(outcomes)
        if alerting and self.on_alerts:
            self.on_alerts(alerting)

    async def _drain(self) -> bool:
        """Wait for what is under way. Returns whether it all got done within `drain_s`."""
        late: set[asyncio.Task[None]] = set()
        if self._settling:
            now = asyncio.get_running_loop().time()
            left_s = self.drain_s - (now - (self._ended_at or now))
            _, late = await asyncio.wait(set(self._settling), timeout=max(0.0, left_s))
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1.0)
        if self._failures:
            raise BaseExceptionGroup("the run failed", self._failures)
        return not late


async def _open(sinks: Sequence[Sink | OutputSink | DeadLetterSink]) -> None:
    async with asyncio.TaskGroup() as group:
        for sink in sinks:
            group.create_task(sink.open())


async def _unless(stopping: asyncio.Event, work: Awaitable[None]) -> bool:
    """Do the work unless told to stop before it is done. Returns whether it was done."""
    task = asyncio.ensure_future(work)
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if task.done():
        await task
        return True
    task.cancel()
    await asyncio.wait([task])
    return False
