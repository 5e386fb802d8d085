"""The admin endpoint of the daemon, on real Kafka and Elasticsearch."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from enricher.config import load
from enricher.generator import generate, hostile, users
from enricher.lookups import FileLookups
from enricher.tally import family_of

from ..admin_client import get
from ..cli.program import Daemon
from . import ledger
from .test_pipeline import PIPELINE, dead_letters, fit

PATIENCE_S = 90.0
SMALL = """\
name: small
connections:
  kafka: {brokers: "${KAFKA_BROKERS}"}
  elasticsearch: {hosts: "${ELASTICSEARCH_URL}"}
dead_letters: {topic: "${TOPIC}-dead"}
sources:
  - kafka: {topics: ["${TOPIC}"], group: "${TOPIC}", session_timeout_ms: 6000}
stages:
  - json: {}
routes:
  - elasticsearch: {index: "${TOPIC}"}
"""


class Watched:
    """A daemon, and what it says of itself."""

    def __init__(self, folder: Path, pipeline: Path, environment: dict[str, str]) -> None:
        self.socket = folder / "admin"
        arguments = ("run", pipeline.absolute(), "--admin", f"unix:{self.socket}")
        # aiohttp warns of bodies beyond 1 MiB; as an error, that would be a failed request.
        surroundings = {"PYTHONWARNINGS": "default::DeprecationWarning", **environment}
        self.daemon = Daemon(*arguments, folder=folder, environment=surroundings)

    def ready(self) -> tuple[int, list[str]]:
        status, body = get(self.socket, "/health/ready")
        return status, orjson.loads(body)["reasons"]

    def scrape(self) -> dict[str, Counter[str]]:
        """Give the values of every metric by its one telling label, summed over the others."""
        status, text = get(self.socket, "/metrics")
        assert status == 200
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for family in text_string_to_metric_families(text):
            for name, labels, value, *_ in family.samples:
                label = labels.get("index") or labels.get("sink") or ""
                found[name][label] += value  # type: ignore[assignment]
        return found

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                if condition():
                    return
            except (FileNotFoundError, ConnectionRefusedError):
                assert not self.socket.exists()  # it has not started yet
            assert self.daemon.process.poll() is None, self.daemon.text
            assert time.monotonic() < end, self.daemon.text
            time.sleep(0.05)

    def until_ready(self) -> None:
        self.until(lambda: self.ready() == (200, []))

    def until_not_ready(self, word: str) -> None:
        def says() -> bool:
            status, reasons = self.ready()
            return status == 503 and any(word in reason for reason in reasons)

        self.until(says)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[[Path, dict[str, str]], Watched]]:
    """Start daemons; end them whatever happens."""
    begun: list[Watched] = []

    def begin(pipeline: Path, environment: dict[str, str]) -> Watched:
        begun.append(Watched(tmp_path, pipeline, environment))
        return begun[-1]

    yield begin
    for watched in begun:
        watched.daemon.__exit__()


@pytest.fixture
def small(tmp_path: Path, kafka: Any, elasticsearch: Any) -> tuple[Path, dict[str, str]]:
    """Give a small pipeline, and its surroundings with a topic of its own."""
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path / "small.yaml", {
        "KAFKA_BROKERS": kafka.bootstrap,
        "ELASTICSEARCH_URL": elasticsearch.url,
        "TOPIC": f"admin-{uuid.uuid4().hex[:8]}",
    }


def send(kafka: Any, topic: str, count: int, size: int = 10) -> None:
    async def produce() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
        await producer.start()
        try:
            body = b'{"text":"%b"}' % (b"x" * size)
            for pending in [await producer.send(topic, body) for _ in range(count)]:
                await pending
        finally:
            await producer.stop()

    asyncio.run(produce())


def test_the_counters_under_full_load_equal_the_ledger(
    kafka: Any, elasticsearch: Any, valkey: Any, watch: Any
) -> None:
    """It answers all the while, no counter ever falls, and in the end each equals what was sent."""
    kafka.delete_topics(*ledger.TOPICS, "dead-letters")
    big = {"retention.ms": "-1", "max.message.bytes": str(4 << 20)}
    kafka.create_topics(dict.fromkeys(ledger.TOPICS, 4), config=big)
    ledger.clear(elasticsearch)
    with Redis.from_url(valkey.url) as client:
        client.mset(dict(users()))
    environment = {
        "KAFKA_BROKERS": kafka.bootstrap,
        "ELASTICSEARCH_URL": elasticsearch.url,
        "ELASTICSEARCH_REPLICAS": "0",
        "ELASTICSEARCH_SHARDS": "1",
        "REDIS_URL": valkey.url,
    }
    records = [*generate(8_000, seed=3), *fit(hostile(200, seed=3))]
    sent = asyncio.run(ledger.send(kafka.bootstrap, records))
    known = FileLookups.__new__(FileLookups)
    known._values = dict(users())
    wanted = ledger.expected(load(PIPELINE, {**os.environ, **environment}), sent, known)

    watched: Watched = watch(PIPELINE, environment)
    watched.until_ready()
    seen: list[dict[str, Counter[str]]] = []
    slowest = 0.0

    def is_done() -> bool:
        nonlocal slowest
        begin = time.monotonic()
        seen.append(watched.scrape())
        slowest = max(slowest, time.monotonic() - begin)
        return seen[-1]["enricher_records_settled_total"][""] >= len(sent)

    watched.until(is_done)
    watched.until(lambda: sum(watched.scrape()["enricher_kafka_lag_records"].values()) == 0)
    status = orjson.loads(get(watched.socket, "/status")[1])
    final = watched.scrape()
    watched.daemon.terminate()
    assert watched.daemon.wait() == 0, watched.daemon.text

    dead = asyncio.run(dead_letters(kafka.bootstrap))
    kept = [one for one in wanted if one.record.id not in dead]
    documents = Counter(family_of(one.place[0]) for one in kept if one.place)
    assert final["enricher_documents_total"] == documents
    assert sum(final["enricher_dead_letters_total"].values()) == len(dead) > 0
    assert final["enricher_records_read_total"][""] == len(sent)
    assert final["enricher_records_settled_total"][""] == len(sent)
    assert sum(final["enricher_sink_conflicts_total"].values()) == 0
    assert sum(final["enricher_kafka_watermark_offset"].values()) == len(sent)
    assert sum(final["enricher_kafka_watermark_age_seconds"].values()) == 0
    assert sum(final["enricher_kafka_assigned_partitions"].values()) == 16
    assert sum(final["enricher_kafka_commits_total"].values()) >= 1
    assert (
        final["enricher_sink_request_duration_seconds_count"]["elasticsearch"] >= 3
    )  # of 4 MiB at most
    assert final["enricher_bytes_in_flight"][""] == 0
    assert len(status["sources"]["kafka"]["partitions"]) == 16
    assert status["documents"] == documents

    assert len(seen) > 10
    assert slowest < 5.0
    assert max(one["enricher_bytes_in_flight"][""] for one in seen) > 0
    assert max(one["enricher_event_loop_stall_seconds_count"][""] for one in seen) > 10
    for before, after in zip(seen, seen[1:], strict=False):
        for name in ("enricher_records_settled_total", "enricher_documents_total"):
            assert not before[name] - after[name], name


def test_not_ready_while_elasticsearch_is_away_and_ready_after(
    kafka: Any, elasticsearch: Any, watch: Any, small: tuple[Path, dict[str, str]]
) -> None:
    """Lag and age grow meanwhile, also beyond what is fetched; then all is settled."""
    pipeline, environment = small
    topic = environment["TOPIC"]
    kafka.create_topics({topic: 2})
    watched: Watched = watch(pipeline, environment)
    watched.until_ready()
    send(kafka, topic, 100)
    watched.until(lambda: watched.scrape()["enricher_records_settled_total"][""] == 100)
    elasticsearch.kill()
    send(kafka, topic, 400, size=100_000)  # more than the budget and what is fetched ahead
    watched.until_not_ready("elasticsearch at")
    watched.until(lambda: sum(watched.scrape()["enricher_kafka_lag_records"].values()) == 400)
    held = watched.scrape()
    assert held["enricher_ready"][""] == 0
    assert held["enricher_sink_blocked"]["elasticsearch"] == 1
    assert held["enricher_records_settled_total"][""] == 100
    assert held["enricher_records_read_total"][""] < 500
    age = "enricher_kafka_watermark_age_seconds"
    watched.until(lambda: max(watched.scrape()[age].values()) > max(held[age].values()) > 0)
    assert get(watched.socket, "/health/live")[0] == 200
    elasticsearch.start()
    watched.until_ready()
    watched.until(lambda: watched.scrape()["enricher_records_settled_total"][""] == 500)
    watched.until(lambda: sum(watched.scrape()["enricher_kafka_lag_records"].values()) == 0)
    assert watched.scrape()["enricher_sink_retries_total"]["elasticsearch"] >= 1


def test_not_ready_while_the_topic_is_missing_or_the_brokers_are_away(
    kafka: Any, watch: Any, small: tuple[Path, dict[str, str]]
) -> None:
    """It says which topic, and which brokers; and goes on by itself."""
    pipeline, environment = small
    watched: Watched = watch(pipeline, environment)
    watched.until_not_ready(f"kafka has no topic {environment['TOPIC']}")
    kafka.create_topics({environment["TOPIC"]: 1})
    watched.until_ready()
    kafka.kill()
    watched.until_not_ready(f"kafka at {kafka.bootstrap} cannot be reached")
    assert get(watched.socket, "/health/live")[0] == 200
    kafka.start()
    watched.until_ready()
    send(kafka, environment["TOPIC"], 10)
    watched.until(lambda: watched.scrape()["enricher_records_settled_total"][""] == 10)
