"""What a record sends is owed like its document: acknowledged, refused, counted and measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from enricher.health import Health
from enricher.model import Destination, Document, Outcome, Output, Record, Rejected
from enricher.writes import footprint
from tests.test_runtime import DeadLetters, Journal, Plan, Run, settled, until

KAFKA, REDIS = Destination("high", "kafka", topic="t"), Destination("flag", "redis", expire_s=1)


class Sending(Plan):
    """As the plan of `test_runtime`; every document has an output to Kafka and one to Redis."""

    async def process(self, records: Sequence[Record]) -> list[Outcome]:
        return [
            outcome._replace(
                outputs=(
                    Output(outcome.record, KAFKA, outcome.id, b"{}"),
                    Output(outcome.record, REDIS, outcome.id, b"{}"),
                )
            )
            if isinstance(outcome, Document)
            else outcome
            for outcome in await super().process(records)
        ]


class Sink:
    """Keeps outputs; a test may hold its answer, or let it refuse those of a record."""

    blocked: str | None = None

    def __init__(self, journal: Journal, name: str) -> None:
        self.journal, self.name = journal, name
        self.outputs: list[str] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.refused: set[str] = set()

    async def open(self) -> None:
        self.journal.append(f"{self.name} open")

    async def write(self, outputs: list[Output]) -> list[Rejected]:
        await self.answering.wait()
        self.outputs += [output.id for output in outputs]
        self.journal.append(f"{self.name} answered")
        refused = [one for one in outputs if one.record.id in self.refused]
        return [Rejected(one, "TooLarge", "too large") for one in refused]

    async def close(self) -> None:
        self.journal.append(f"{self.name} closed")


class SendingRun(Run):
    """A runtime whose plan sends."""

    def __init__(self, *deliveries: Sequence[str], **options: Any) -> None:
        super().__init__(*deliveries, **options)
        self.kafka, self.redis = Sink(self.journal, "kafka"), Sink(self.journal, "redis")
        self.runtime.plan = Sending()
        self.runtime.output_sinks = {"kafka": self.kafka, "redis": self.redis}


@pytest.mark.parametrize("last", ["a", "kafka", "redis"])
async def test_acknowledged_only_when_every_output_is_durable(last: str) -> None:
    """Whoever answers last, the acknowledgement comes after."""
    run = SendingRun(["a", "drop", "a"])
    answering: asyncio.Event = getattr(run, last).answering
    answering.clear()
    running = run.start()
    await until(lambda: sum(text.endswith(" answered") for text in run.journal) == 2)
    await settled()
    assert run.source.acknowledged == []
    assert run.budget.used > 0
    answering.set()
    assert await running
    assert run.source.acknowledged == [0]
    assert run.budget.used == 0
    assert run.kafka.outputs == ["source0-0/high", "source0-2/high"]
    assert run.redis.outputs == ["source0-0/flag", "source0-2/flag"]
    assert {"kafka open", "redis open", "kafka closed", "redis closed"} <= set(run.journal)


async def test_what_is_refused_makes_one_dead_letter_of_its_record() -> None:
    """Whatever is refused of a record; what is named is what was refused first, the document before others."""
    run = SendingRun(["a", "a", "a"])
    run.a.refused = {"source0-0"}
    run.kafka.refused = {"source0-0", "source0-1"}
    run.redis.refused = {"source0-1"}
    assert await run.to_the_end()
    assert isinstance(run.letters, DeadLetters)
    assert [(one.record.id, one.stage, one.error) for one in run.letters.letters] == [
        ("source0-0", "a", "mapper"),
        ("source0-1", "high", "TooLarge"),
    ]
    tally = run.runtime.tally
    assert tally.records == 3
    assert sum(tally.documents.values()) == 1
    assert tally.dead_letters == {"a: mapper": 1, "high: TooLarge": 1}
    assert tally.outputs == {"high": 1, "flag": 2}


async def test_latency_is_measured_for_what_has_a_time() -> None:
    """From the record's timestamp until the sink's answer; a file's record has none."""
    run = SendingRun(["a"], ["a"])
    plan = run.runtime.plan

    class Timed(Sending):
        async def process(self, records: Sequence[Record]) -> list[Outcome]:
            stamp = int(1000 * time.time()) - 300_000 if records[0].id == "source1-0" else None
            return await plan.process([one._replace(timestamp=stamp) for one in records])

    run.runtime.plan = Timed()
    assert await run.to_the_end()
    latency = run.runtime.tally.latency
    assert set(latency) == {("a", ""), ("kafka", "high"), ("redis", "flag")}
    for histogram in latency.values():
        assert [count for _, count in histogram.buckets()][-2:] == [0, 1]  # over ten seconds
        assert 299 < histogram.sum < 400


async def test_what_hinders_outputs_makes_a_run_unready() -> None:
    """As what hinders documents does; each sink goes by its own name."""
    run = SendingRun()
    health = Health(run.runtime, run.stopping)
    run.runtime.opened = True
    assert health.reasons() == []
    run.kafka.blocked = "kafka at x cannot be written to"
    assert health.reasons() == ["kafka at x cannot be written to"]
    assert list(health.sinks) == ["a", "b", "kafka_outputs", "redis_outputs", "dead_letters"]


async def test_outputs_count_as_bytes_in_flight() -> None:
    """Each body twice, as that of a document, and what is around it."""
    run = SendingRun(["a"])
    delivery = await anext(run.source.deliveries())
    (document,) = await Sending().process(delivery.records)
    outputs = [one._replace(body=b"x" * 100) for one in document.outputs]  # type: ignore[union-attr]
    alone = footprint(delivery, [document])
    assert footprint(delivery, [document], outputs) == alone + 2 * 200 + 2 * 600
