"""What the Kafka source says of its partitions: how far they are settled, and how far they reach."""

from __future__ import annotations

import pytest

from enricher.kafka import lag

from ..servers.kafka import Kafka
from .test_kafka_source import Member, _produce, _run, _topic, _until


def test_lag_and_age_are_those_of_what_is_not_settled(kafka: Kafka) -> None:
    """Also before anything was ever settled, and behind a gap."""
    topic = _topic(kafka)

    async def run() -> None:
        await _produce(kafka, topic, 30)
        async with Member(kafka, topic, auto=False, max_records=10) as member:
            await member.has(30)
            (before,) = member.source.progress()
            assert before[:4] == (topic, 0, 0, 30)
            assert before.age_s > 0
            first, second, _ = member.held
            await member.acknowledge(second)
            (still,) = member.source.progress()
            assert still[:4] == (topic, 0, 0, 30)
            assert still.age_s >= before.age_s
            await member.acknowledge(first)
            assert member.source.progress()[0][:4] == (topic, 0, 20, 10)
            await member.settle()
            assert member.source.progress() == [(topic, 0, 30, 0, 0.0)]
            await _until(lambda: member.source.counts.commits > 0)
            assert member.source.counts.failed_commits == 0
        assert member.source.progress() == []

    _run(run())


def test_a_quiet_restart_knows_that_nothing_is_left(kafka: Kafka) -> None:
    """Where reading goes on is known from the group's offsets, with no record to tell."""
    topic = _topic(kafka)

    async def run() -> None:
        await _produce(kafka, topic, 5)
        async with Member(kafka, topic) as member:
            await member.has(5)
        async with Member(kafka, topic) as again:
            assert again.source.blocked == "kafka: not connected to kafka yet"
            await _until(lambda: again.source.progress() == [(topic, 0, 5, 0, 0.0)])
            assert again.source.blocked is None
            assert again.records == []

    _run(run())


def test_a_member_without_partitions_stands_by(kafka: Kafka) -> None:
    """It is not blocked: it takes over when the other one leaves."""
    topic = _topic(kafka)

    async def run() -> None:
        async with Member(kafka, topic) as first:
            await _until(lambda: len(first.source.progress()) == 1)
            async with Member(kafka, topic) as second:
                await _until(lambda: second.source.blocked is None)
                owned = [len(member.source.progress()) for member in (first, second)]
                assert sorted(owned) == [0, 1]
                assert first.source.blocked is None

    _run(run())


def test_brokers_that_do_not_answer_block_the_source(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen, not gone: connections stay open, and yet it is noticed; and over once they answer."""
    topic = _topic(kafka)
    monkeypatch.setattr(lag, "_PATIENCE_S", 1.0)

    async def run() -> None:
        async with Member(kafka, topic) as member:
            await _until(lambda: member.source.blocked is None)
            kafka.pause()
            await _until(lambda: member.source.blocked is not None)
            assert "cannot be reached" in (member.source.blocked or "")
            kafka.resume()
            await _until(lambda: member.source.blocked is None)

    _run(run())
