"""The shipped payments pipeline, as a daemon, from real Kafka into real Elasticsearch."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from redis import Redis

from enricher.config import load
from enricher.generator import generate, hostile, users
from enricher.lookups import FileLookups
from tests.integration import ledger

PIPELINE = Path("pipelines/payments.yaml")


@pytest.fixture
def environment(kafka: Any, elasticsearch: Any, valkey: Any) -> dict[str, str]:
    """Where the daemon finds the real servers; topics and indices are made anew."""
    topics = [*ledger.TOPICS, "dead-letters"]
    kafka.delete_topics(*topics)
    kafka.create_topics(
        dict.fromkeys(ledger.TOPICS, 4),
        config={"retention.ms": "-1", "max.message.bytes": str(4 << 20)},
    )
    ledger.clear(elasticsearch)
    client = Redis.from_url(valkey.url)
    client.mset(dict(users()))
    client.close()
    return {
        **os.environ,
        "KAFKA_BROKERS": kafka.bootstrap,
        "ELASTICSEARCH_URL": elasticsearch.url,
        "ELASTICSEARCH_REPLICAS": "0",
        "ELASTICSEARCH_SHARDS": "1",
        "REDIS_URL": valkey.url,
    }


@pytest.fixture
def lookups(tmp_path: Path) -> FileLookups:
    """Make the users that Redis knows available to the dry-run."""
    known = FileLookups.__new__(FileLookups)
    known._values = dict(users())
    return known


class Daemon:
    """`enricher run` as a process of its own."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        command = [sys.executable, "-m", "enricher", "run", str(PIPELINE), "--format", "json"]
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)

    def stop(self, timeout_s: float = 60) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Any]:
    """Start daemons; end them whatever happens."""
    daemons: list[Daemon] = []

    def begin() -> Daemon:
        daemons.append(Daemon(environment, tmp_path / "enricher.log"))
        return daemons[-1]

    yield begin
    for daemon in daemons:
        if daemon.process.poll() is None:
            daemon.kill()


def test_every_event_is_in_the_right_index_exactly_once(
    kafka: Any, elasticsearch: Any, environment: dict[str, str], start: Any, lookups: FileLookups
) -> None:
    """SIGTERM in the middle and a restart change nothing; the dry-run says what is indexed."""
    sent = asyncio.run(ledger.send(kafka.bootstrap, generate(20_000)))
    wanted = ledger.expected(load(PIPELINE, environment), sent, lookups)
    daemon = start()
    assert ledger.wait_for_count(elasticsearch, 5_000) >= 5_000, daemon.log.read_text()
    assert daemon.stop() == 0, daemon.log.read_text()
    daemon = start()
    ledger.wait_for_count(elasticsearch, len(wanted))
    assert daemon.stop() == 0, daemon.log.read_text()

    ledger.verify(wanted, ledger.indexed(elasticsearch), set())
    status, settings = elasticsearch.request("GET", "/payment-logs-2025.10.21/_settings")
    assert status == 200
    index = settings["payment-logs-2025.10.21"]["settings"]["index"]
    assert index["lifecycle"]["name"] == "payment-logs-policy"
    assert index["number_of_replicas"] == "0"
    assert search(elasticsearch, "payment-logs-*", {"range": {"amount": {"gte": 50_000}}}) == sum(
        1
        for one in wanted
        if one.place
        and one.place[0].startswith("payment-logs-")
        and one.document.get("amount_category") == "enterprise"
    )
    nearby = {"geo_distance": {"distance": "50km", "geoip.location": {"lat": 19.07, "lon": 72.87}}}
    assert search(elasticsearch, "payment-logs-*", nearby) > 0


def search(elasticsearch: Any, index: str, query: dict[str, Any]) -> int:
    """Count what a query finds."""
    status, answer = elasticsearch.request("POST", f"/{index}/_count", {"query": query})
    assert status == 200, answer
    return int(answer["count"])


def test_a_killed_daemon_loses_nothing_and_indexes_nothing_twice(
    kafka: Any, elasticsearch: Any, environment: dict[str, str], start: Any, lookups: FileLookups
) -> None:
    """`kill -9` three times under load; hostile records end in the dead-letter topic."""
    records = [*generate(15_000, seed=7), *fit(hostile(300, seed=7))]
    sent = asyncio.run(ledger.send(kafka.bootstrap, records))
    wanted = ledger.expected(load(PIPELINE, environment), sent, lookups)
    refused = {one.record.id for one in wanted if one.place is None}
    assert refused
    for share in (0.1, 0.35, 0.6):
        daemon = start()
        reached = ledger.wait_for_count(elasticsearch, int(len(wanted) * share))
        assert reached >= len(wanted) * share, daemon.log.read_text()[-4000:]
        daemon.kill()
    daemon = start()
    wait_for_offsets(kafka.bootstrap, daemon)
    assert daemon.stop() == 0, daemon.log.read_text()[-4000:]

    dead = asyncio.run(dead_letters(kafka.bootstrap))
    assert refused <= dead
    ledger.verify(wanted, ledger.indexed(elasticsearch), dead)


def wait_for_offsets(bootstrap: str, daemon: Daemon, timeout_s: float = 90) -> None:
    """Wait until the group has committed all that there is."""

    async def lag() -> int:
        client = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id="enricher-payments")
        await client.start()
        try:
            parts = [TopicPartition(t, n) for t in ledger.TOPICS for n in range(4)]
            ends = await client.end_offsets(parts)
            return sum([ends[p] - (await client.committed(p) or 0) for p in parts])
        finally:
            await client.stop()

    end = time.monotonic() + timeout_s
    while (left := asyncio.run(lag())) and time.monotonic() < end:
        time.sleep(0.5)
    assert not left, daemon.log.read_text()[-4000:]


def fit(records: Any) -> list[Any]:
    """Leave out what a producer with default limits cannot send."""
    return [r for r in records if len(r.value) < 900_000]


async def dead_letters(bootstrap: str) -> set[str]:
    """Read the ids of all dead letters."""
    consumer = AIOKafkaConsumer(
        "dead-letters",
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_bytes=64 << 20,
        max_partition_fetch_bytes=16 << 20,
    )
    await consumer.start()
    found = set()
    try:
        partitions = consumer.assignment()
        ends = await consumer.end_offsets(list(partitions))
        while any([await consumer.position(p) < end for p, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                found |= {record.key.decode() for record in batch}
    finally:
        await consumer.stop()
    return found
