"""A delivery is acknowledged once, when everyone who owes it an answer has given it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import FrameType
from typing import Any, Self

import orjson
import pytest

from enricher import model
from enricher.budget import MOST_RECORDS, Budget
from enricher.model import (
    Alert,
    DeadLetter,
    Delivery,
    Document,
    Dropped,
    Outcome,
    Record,
    Rejected,
    UserError,
)
from enricher.runtime import Runtime
from enricher.writes import footprint

PLENTY = 1 << 30
PATIENCE_S = 10.0
"""How long a test waits for what should come at once."""


class Journal(list[str]):
    """What happened, in order."""

    def waiting_for(self, text: str) -> Callable[[], bool]:
        return lambda: text in self


async def until(condition: Callable[[], bool]) -> None:
    """Let everybody else have their turn until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0)


async def settled() -> None:
    """Let everybody go as far as they can."""
    for _ in range(50):
        await asyncio.sleep(0)


def records_of(name: str, values: Sequence[str]) -> list[Record]:
    return [
        Record(value.encode(), f"{name}-{number}", None, name, number)
        for number, value in enumerate(values)
    ]


class Plan:
    """Takes a value of `sink index alert…` to a document; `dead` and `drop` to those outcomes."""

    async def process(self, records: Sequence[Record]) -> list[Outcome]:
        return [self.outcome(record) for record in records]

    async def process_timed(
        self, records: Sequence[Record], cost_ns: dict[str, int]
    ) -> list[Outcome]:
        cost_ns["only"] = cost_ns.get("only", 0) + len(records)
        return await self.process(records)

    def outcome(self, record: Record) -> Outcome:
        kind, *rest = record.value.decode().split()
        if kind == "dead":
            return DeadLetter(record, "stage", "Bad", "because")
        if kind == "drop":
            return Dropped(record, "drop")
        index, *names = rest or ["i"]
        alerts = tuple(Alert(name, f"about {record.id}") for name in names)
        return Document(record, kind, index, record.id, None, b"{}", alerts)


class Source(model.Source):
    """Yields what it is given; may fail at the end, or go on for ever."""

    blocked: str | None = None

    def __init__(
        self,
        journal: Journal,
        *deliveries: Sequence[str],
        name: str = "source",
        failure: Exception | None = None,
        endless: bool = False,
    ) -> None:
        self.name = name
        self.journal = journal
        self.waiting = list(deliveries)
        self.failure = failure
        self.endless = endless
        self.stopped = asyncio.Event()
        self.yielded = 0
        self.acknowledged: list[int] = []
        self.commits: list[bool] = []
        """What committing answers; True once they are used up."""

    async def deliveries(self) -> AsyncIterator[Delivery]:
        while self.waiting and not self.stopped.is_set():
            number, values = self.yielded, self.waiting.pop(0)
            self.yielded += 1
            records = records_of(f"{self.name}{number}", values)
            size = sum(len(record.value) for record in records)
            yield Delivery(records, self.acknowledge(number), size)
        if self.failure is not None:
            raise self.failure
        if self.endless:
            await self.stopped.wait()

    def acknowledge(self, number: int) -> Callable[[], Awaitable[None]]:
        async def acknowledge() -> None:
            self.acknowledged.append(number)
            self.journal.append(f"{self.name}{number} acknowledged")

        return acknowledge

    def stop(self) -> None:
        self.stopped.set()

    async def commit(self) -> bool:
        self.journal.append(f"{self.name} committed")
        return self.commits.pop(0) if self.commits else True

    async def close(self) -> None:
        self.journal.append(f"{self.name} closed")


class Sink(model.Sink):
    """Keeps documents; a test may hold its answer, let it refuse, or let it fail."""

    blocked: str | None = None

    def __init__(self, journal: Journal, name: str = "a") -> None:
        self.journal = journal
        self.name = name
        self.documents: list[Document] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.opening = asyncio.Event()
        self.opening.set()
        self.refused: set[str] = set()
        """Ids that are refused for good."""
        self.failing: set[str] = set()
        """Ids at which the write fails."""
        self.cancelled = 0

    async def open(self) -> None:
        self.journal.append(f"{self.name} opening")
        await self.opening.wait()
        self.journal.append(f"{self.name} open")

    async def write(self, documents: list[Document]) -> list[Rejected]:
        ids = {document.id for document in documents}
        self.journal.append(f"{self.name} writing {len(documents)}")
        try:
            await self.answering.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if ids & self.failing:
            raise RuntimeError(f"{self.name} cannot go on")
        self.documents += [d for d in documents if d.id not in self.refused]
        self.journal.append(f"{self.name} answered")
        return [Rejected(d, "mapper", "bad field") for d in documents if d.id in self.refused]

    async def close(self) -> None:
        self.journal.append(f"{self.name} closed")


class DeadLetters(model.DeadLetterSink):
    """Keeps dead letters, once it may."""

    pipeline = ""
    blocked: str | None = None

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.letters: list[DeadLetter] = []
        self.answering = asyncio.Event()
        self.answering.set()

    async def open(self) -> None:
        self.journal.append("letters open")

    async def write(self, letters: list[DeadLetter]) -> None:
        self.journal.append(f"letters writing {len(letters)}")
        await self.answering.wait()
        self.letters += letters
        self.journal.append("letters answered")

    async def close(self) -> None:
        self.journal.append("letters closed")


class Run:
    """A runtime with everything around it."""

    def __init__(self, *deliveries: Sequence[str], budget: int = PLENTY, **options: Any) -> None:
        source_options = {key: options.pop(key) for key in ("failure", "endless") if key in options}
        self.journal = Journal()
        self.source = Source(self.journal, *deliveries, **source_options)
        self.a, self.b = Sink(self.journal, "a"), Sink(self.journal, "b")
        self.letters = DeadLetters(self.journal)
        self.budget = Budget(budget)
        self.stopping = asyncio.Event()
        self.sources: list[Source] = [self.source]
        self.alerts: list[Document] = []
        self.runtime = Runtime(
            plan=Plan(),
            sources=self.sources,
            sinks={"a": self.a, "b": self.b},
            dead_letters=self.letters,
            budget=self.budget,
            on_alerts=self.alerts.extend,
            **options,
        )

    def start(self) -> asyncio.Task[bool]:
        return asyncio.create_task(self.runtime.run(self.stopping))

    async def to_the_end(self) -> bool:
        async with asyncio.timeout(PATIENCE_S):
            return await self.runtime.run(self.stopping)


async def test_ends_with_its_sources() -> None:
    """Everything is written and acknowledged in order, everything is closed, nothing is held."""
    run = Run(["a", "a"], ["a"], ["b"])
    assert await run.to_the_end() is True
    assert [document.id for document in run.a.documents] == ["source0-0", "source0-1", "source1-0"]
    assert [document.id for document in run.b.documents] == ["source2-0"]
    assert run.source.acknowledged == [0, 1, 2]
    assert run.budget.used == 0
    assert set(run.journal[-4:]) == {"source closed", "letters closed", "a closed", "b closed"}
    assert run.journal[-4] == "source closed"  # it commits while the sinks are still there


async def test_no_records_at_all() -> None:
    run = Run()
    assert await run.to_the_end() is True
    assert run.runtime.tally.records == 0


@pytest.mark.parametrize("last", ["a", "b", "letters"])
async def test_acknowledged_only_when_every_sink_has_answered(last: str) -> None:
    """Whoever answers last, the acknowledgement comes after."""
    run = Run(["a", "b", "dead", "drop"])
    answering = {
        "a": run.a.answering,
        "b": run.b.answering,
        "letters": run.letters.answering,
    }[last]
    answering.clear()
    task = run.start()
    await until(lambda: any(line.startswith(f"{last} writing") for line in run.journal))
    await settled()
    assert run.source.acknowledged == []
    assert run.runtime.tally.records == 0
    assert run.budget.used > 0
    assert not task.done()
    answering.set()
    assert await task is True
    answers = [run.journal.index(f"{name} answered") for name in ("a", "b", "letters")]
    assert max(answers) < run.journal.index("source0 acknowledged")
    assert run.budget.used == 0


async def test_what_is_dropped_waits_for_nobody() -> None:
    """A delivery without documents and letters is acknowledged, and nobody is asked."""
    run = Run(["drop", "drop"])
    assert await run.to_the_end() is True
    assert run.source.acknowledged == [0]
    assert not any("writing" in line for line in run.journal)


async def test_refused_documents_are_dead_letters_before_the_acknowledgement() -> None:
    """The sink's words name the stage, the error and the reason; the record is whole."""
    run = Run(["a x", "a x", "dead", "b x"])
    run.a.refused = {"source0-1"}
    run.b.refused = {"source0-3"}
    run.letters.answering.clear()
    task = run.start()
    await until(run.journal.waiting_for("letters writing 3"))
    await settled()
    assert run.source.acknowledged == []
    run.letters.answering.set()
    assert await task is True
    found = [(one.record.id, one.stage, one.error, one.reason) for one in run.letters.letters]
    assert found == [
        ("source0-2", "stage", "Bad", "because"),
        ("source0-1", "a", "mapper", "bad field"),
        ("source0-3", "b", "mapper", "bad field"),
    ]
    assert run.letters.letters[1].record.value == b"a x"
    assert run.runtime.tally.documents == {"x": 1}
    assert run.runtime.tally.dead_letters == {"stage: Bad": 1, "a: mapper": 1, "b: mapper": 1}


async def test_a_sink_that_fails_is_never_acknowledged_and_the_others_are_drained() -> None:
    """The delivery that failed is read again after a restart; the others are not."""
    run = Run(["a"], ["a"], ["a"], endless=True)
    run.a.failing = {"source1-0"}
    run.a.answering.clear()
    task = run.start()
    await until(lambda: run.source.yielded == 3)
    run.a.answering.set()
    with pytest.raises(ExceptionGroup) as caught:
        await task
    assert [str(error) for error in caught.value.exceptions] == ["a cannot go on"]
    assert run.source.acknowledged == [0, 2]
    assert run.source.stopped.is_set()
    assert run.budget.used == 0
    assert run.runtime.tally.records == 2


async def test_dead_letters_that_fail_are_never_acknowledged() -> None:
    run = Run(["dead"])

    async def fail(letters: list[DeadLetter]) -> None:
        raise UserError("no space")

    run.letters.write = fail  # type: ignore[method-assign]
    with pytest.raises(ExceptionGroup) as caught:
        await run.to_the_end()
    assert caught.group_contains(UserError, match="no space")
    assert run.source.acknowledged == []
    assert run.budget.used == 0


async def test_a_source_that_fails_drains_what_was_read() -> None:
    """What it gave before is settled, the other sources are stopped in order, then it is told."""
    run = Run(["a"], ["a"], failure=UserError("the file is damaged"))
    other = Source(run.journal, ["b"], name="other", endless=True)
    run.sources.append(other)
    run.a.answering.clear()
    task = run.start()
    await until(other.stopped.is_set)
    await settled()
    assert not task.done()
    run.a.answering.set()
    with pytest.raises(ExceptionGroup) as caught:
        await task
    assert caught.group_contains(UserError, match="the file is damaged")
    assert run.source.acknowledged == [0, 1]
    assert other.acknowledged == [0]
    assert run.journal.index("source1 acknowledged") < run.journal.index("a closed")


async def test_a_failure_is_told_where_others_do_not_answer() -> None:
    """A deadline that passes does not hide why the run ended."""
    run = Run(["a"], ["b"], endless=True, drain_s=0.01)
    run.a.answering.clear()
    run.b.failing = {"source1-0"}
    with pytest.raises(ExceptionGroup, match="the run failed"):
        await run.to_the_end()
    assert run.source.acknowledged == []


async def test_the_budget_bounds_what_is_in_flight() -> None:
    """A sink that does not answer stops the reading; each answer lets one more in."""
    one = ["a"] * 10
    size = footprint(
        Delivery(records_of("x", one), pytest.fail, 10), await Plan().process(records_of("x", one))
    )
    run = Run(*[one] * 20, budget=3 * size)
    run.a.answering.clear()
    task = run.start()
    await until(lambda: run.source.yielded == 3)
    await settled()
    assert run.source.yielded == 3
    assert run.budget.used == 3 * size
    run.a.answering.set()
    assert await task is True
    assert run.source.acknowledged == list(range(20))
    assert run.budget.used == 0


async def test_every_source_waits_for_the_one_budget() -> None:
    """Two sources share it; either may go beyond by one delivery."""
    run = Run(*[["a"]] * 9, budget=1)
    other = Source(run.journal, *[["a"]] * 9, name="other")
    run.sources.append(other)
    run.a.answering.clear()
    task = run.start()
    await until(lambda: other.yielded == 1)
    await settled()
    assert (run.source.yielded, other.yielded) == (1, 1)
    run.a.answering.set()
    assert await task is True
    assert len(run.source.acknowledged) + len(other.acknowledged) == 18


async def test_stopping_while_the_budget_is_full() -> None:
    """A reader that waits for room is let go, so that the deadline counts."""
    run = Run(*[["a"]] * 5, budget=1, drain_s=0.01)
    run.a.answering.clear()
    task = run.start()
    await until(run.journal.waiting_for("a writing 1"))
    run.stopping.set()
    async with asyncio.timeout(PATIENCE_S):
        assert await task is False
    assert run.source.yielded == 1


async def test_stop_drains_what_was_read() -> None:
    """After `stopping`, nothing more is read; what was read is settled, and the run is a success."""
    run = Run(["a"], ["a"], endless=True)
    run.a.answering.clear()
    task = run.start()
    await until(lambda: run.source.yielded == 2)
    run.stopping.set()
    await until(run.source.stopped.is_set)
    await settled()
    assert not task.done()
    run.a.answering.set()
    assert await task is True
    assert run.source.acknowledged == [0, 1]
    assert run.journal.index("source1 acknowledged") < run.journal.index("source closed")


async def test_the_drain_has_a_deadline() -> None:
    """Passed, the run is no success, nothing is acknowledged, and the writes are cancelled."""
    run = Run(["a"], ["a"], endless=True, drain_s=0.01)
    run.a.answering.clear()
    task = run.start()
    await until(lambda: run.source.yielded == 2)
    run.stopping.set()
    assert await task is False
    assert run.source.acknowledged == []
    assert run.a.cancelled == 2
    assert run.budget.used == 0
    assert run.journal[-1].endswith("closed")


async def test_stop_while_opening() -> None:
    """A server that is away at the start does not hold the end up; nothing was read."""
    run = Run(["a"])
    run.a.opening.clear()
    task = run.start()
    await until(run.journal.waiting_for("a opening"))
    run.stopping.set()
    assert await task is True
    assert run.source.yielded == 0
    assert {"a closed", "b closed", "letters closed"} <= set(run.journal)
    assert "a open" not in run.journal


async def test_nothing_is_read_before_every_sink_is_open() -> None:
    run = Run(["a"])
    run.b.opening.clear()
    task = run.start()
    await until(run.journal.waiting_for("b opening"))
    await settled()
    assert run.source.yielded == 0
    run.b.opening.set()
    assert await task is True
    assert run.journal.index("b open") < run.journal.index("a writing 1")


async def test_a_sink_that_cannot_be_opened() -> None:
    """The run fails before anything is read, and everything is closed."""
    run = Run(["a"])

    async def fail() -> None:
        raise UserError("is no SQLite file")

    run.b.open = fail  # type: ignore[method-assign]
    with pytest.raises(ExceptionGroup) as caught:
        await run.to_the_end()
    assert caught.group_contains(UserError)
    assert run.source.yielded == 0
    assert {"a closed", "b closed", "letters closed"} <= set(run.journal)


async def test_the_tally_counts_what_is_settled() -> None:
    """Records, documents by index, alerts, dead letters and what was dropped; alerts are told."""
    run = Run(["a x Big", "a x Big Odd", "b y"], ["dead", "drop", "drop", "a x"])
    run.a.refused = {"source0-1"}
    assert await run.to_the_end() is True
    tally = run.runtime.tally
    assert tally.records == 7
    assert tally.documents == {"x": 2, "y": 1}
    assert tally.alerts == {"Big": 1}  # a document that was refused alerts nobody
    assert tally.dead_letters == {"a: mapper": 1, "stage: Bad": 1}
    assert tally.dropped == {"drop": 2}
    assert sum(tally.documents.values()) + 2 + 2 == tally.records
    assert [one.alerts for one in run.alerts] == [(Alert("Big", "about source0-0"),)]


@pytest.mark.parametrize(("deliveries", "sampled"), [(1, 5), (3, 5), (4, 5), (132, 10), (260, 15)])
async def test_the_cost_is_measured_now_and_then(deliveries: int, sampled: int) -> None:
    """The first delivery in case it stays alone; then warm ones, one in 128."""
    run = Run(*[["a"] * 5] * deliveries)
    assert await run.to_the_end() is True
    assert run.runtime.tally.sampled == sampled
    assert run.runtime.tally.cost_ns == {"only": sampled}


async def test_a_pause_waits_for_what_is_under_way() -> None:
    """What was enriched is settled and committed before it begins."""
    run = Run(["a"], ["a"], ["a x"], endless=True)
    run.a.answering.clear()
    task = run.start()
    await until(lambda: run.source.yielded == 3)
    entered = asyncio.Event()

    async def pause() -> None:
        async with run.runtime.paused():
            run.journal.append("paused")
            entered.set()
            await settled()
            run.journal.append("over")

    pausing = asyncio.create_task(pause())
    await settled()
    assert not entered.is_set()
    run.a.answering.set()
    await pausing
    run.stopping.set()
    assert await task is True
    assert run.source.acknowledged == [0, 1, 2]
    begin = run.journal.index("paused")
    assert run.journal[begin - 1 : begin + 2] == ["source committed", "paused", "over"]
    assert run.journal.index("source2 acknowledged") < begin


async def test_a_pause_holds_back_what_comes_meanwhile() -> None:
    """A delivery that the source yields during a pause is enriched by the plan that follows."""

    class Second(Plan):
        def outcome(self, record: Record) -> Outcome:
            return Document(record, "a", "second", record.id, None, b"{}")

    run = Run(["a first"])
    more = Gated(run.journal, ["a first"])
    run.sources.append(more)
    task = run.start()
    await until(lambda: run.source.acknowledged == [0])
    async with run.runtime.paused():
        more.open.set()
        await until(lambda: more.yielded == 1)
        await settled()
        assert more.acknowledged == []
        run.runtime.plan = Second()
    assert await task is True
    assert [document.index for document in run.a.documents] == ["first", "second"]


async def test_a_pause_begins_only_once_all_is_committed() -> None:
    """A rebalance waits for what is held back: it gets by, and then the pause is tried again."""
    run = Run(endless=True)
    run.source.commits = [False, True]
    task = run.start()
    async with asyncio.timeout(PATIENCE_S):
        async with run.runtime.paused():
            assert run.journal.count("source committed") == 2
    run.stopping.set()
    assert await task is True


async def test_the_end_is_not_held_up_by_a_pause() -> None:
    """Told to stop while a pause waits for a sink: what is held back goes on, the deadline counts."""
    run = Run(["a"], drain_s=0.01, endless=True)
    more = Gated(run.journal, ["a"])
    run.sources.append(more)
    run.a.answering.clear()
    task = run.start()
    await until(run.journal.waiting_for("a writing 1"))
    pausing = asyncio.create_task(run.runtime.paused().__aenter__())
    await settled()
    more.open.set()
    await until(lambda: more.yielded == 1)
    run.stopping.set()
    async with asyncio.timeout(PATIENCE_S):
        assert await task is False
    pausing.cancel()


class Gated(Source):
    """Yields nothing before it may."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, name="gated")
        self.open = asyncio.Event()

    async def deliveries(self) -> AsyncIterator[Delivery]:
        await self.open.wait()
        async for delivery in super().deliveries():
            yield delivery


class Counter:
    """Counts the tasks made, and the coroutines and generators begun, on this thread."""

    def __init__(self) -> None:
        self.tasks = 0
        self.coroutines = 0

    def __enter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        self.loop.set_task_factory(self.make)
        sys.setprofile(self.profile)
        return self

    def make(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
        self.tasks += 1
        return asyncio.Task(work, loop=loop, **options)

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        is_coroutine = frame.f_code.co_flags & 0x280  # CO_COROUTINE, CO_ASYNC_GENERATOR
        if event == "call" and is_coroutine:
            self.coroutines += 1

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        self.loop.set_task_factory(None)


async def work_for(size: int) -> tuple[int, int]:
    """Give the tasks and the steps of coroutines that ten deliveries of a size take."""
    run = Run(*[["a", "b", "dead", "drop", "a"] * (size // 5)] * 10)
    with Counter() as counter:
        assert await run.runtime.run(run.stopping) is True
    assert run.runtime.tally.records == 10 * size
    return counter.tasks, counter.coroutines


async def test_no_task_and_no_coroutine_per_event() -> None:
    """A hundredfold of records in a delivery takes the same number of tasks and of awaits."""
    few = await work_for(10)
    many = await work_for(1_000)
    assert many == few
    assert few[0] < 100


async def test_no_coroutine_per_event_in_a_real_plan() -> None:
    """The same with a compiled pipeline: a look-up is one await for the batch."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from enricher.build import build
    from enricher.config import load

    with TemporaryDirectory() as folder:
        file = Path(folder) / "p.yaml"
        file.write_text(
            "name: p\nstages: [json: {}, lookup: {key: 'u:{u}', target: t}, "
            "set: {fields: {a: 1}}, drop: {when: n == 3}]\n"
            "routes: [{elasticsearch: {index: i}}]\n"
        )
        plan = build(load(file, {}))
    counts = []
    for size in (10, 5_000):
        records = [
            Record(orjson.dumps({"u": n, "n": n % 5}), str(n), None, "f", n) for n in range(size)
        ]
        await plan.process(records)
        with Counter() as counter:
            outcomes = await plan.process(records)
        assert len(outcomes) == size
        counts.append((counter.tasks, counter.coroutines))
    assert counts[0] == counts[1]
    assert counts[0][0] == 0


async def test_the_size_of_a_delivery_grows_with_its_bodies() -> None:
    """Raw bytes, twice each body (it is copied to be sent), and what Python needs a record."""
    records = records_of("x", ["a", "dead"])
    document = Document(records[0], "a", "i", "1", None, b"x" * 100)
    delivery = Delivery(records, pytest.fail, 5)
    small = footprint(delivery, [document, DeadLetter(records[1], "s", "E", "r")])
    assert footprint(delivery, [document._replace(body=b"x" * 1100), document]) == small + 2200


async def test_no_more_records_than_a_sink_can_use_are_in_flight() -> None:
    """However small they are: the rest waits where it is, in the source."""
    tenth = MOST_RECORDS // 10
    run = Run(*[["a"] * tenth] * 20)
    run.a.answering.clear()
    task = run.start()
    await until(lambda: run.source.yielded == 10)
    await settled()
    assert run.source.yielded == 10
    run.a.answering.set()
    assert await task is True
    assert run.source.acknowledged == list(range(20))
