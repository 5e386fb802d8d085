"""One case's surroundings: topics and a pipeline of its own, daemons, the ledger, and the verdict."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from enricher import document
from tests.integration import ledger as indices
from tests.servers.elasticsearch import Elasticsearch
from tests.servers.kafka import Kafka

from .checker import Found, Letter, Verdict, check
from .daemon import Daemon
from .ledger import Ledger

PIPELINE = Path(__file__).parents[2] / "pipelines" / "payments.yaml"
PARTITIONS = 4
SESSION_MS = 3_000
"""A killed daemon's partitions are free after that; 15 s by default."""


class World:
    """The shipped payments pipeline between real servers.

    It differs from the shipped file in its topics and group, in the session's time-out, and in
    that no route names ids of its own: every record must be in one place under its own id.
    """

    def __init__(
        self, kafka: Kafka, elasticsearch: Elasticsearch, redis_url: str, folder: Path
    ) -> None:
        self.kafka = kafka
        self.elasticsearch = elasticsearch
        self.folder = folder
        suffix = f"-{uuid.uuid4().hex[:6]}"
        self.topics = [name + suffix for name in indices.TOPICS]
        self.group = f"faults{suffix}"
        self.dead_letter_topic = f"dead-letters{suffix}"
        self.ledger = Ledger(kafka.bootstrap, suffix)
        self.daemons: list[Daemon] = []
        self.pipeline = folder / "pipeline.yaml"
        self.environment = {
            **os.environ,
            "KAFKA_BROKERS": kafka.bootstrap,
            "ELASTICSEARCH_URL": elasticsearch.url,
            "ELASTICSEARCH_REPLICAS": "0",
            "ELASTICSEARCH_SHARDS": "1",
            "REDIS_URL": redis_url,
        }
        self.write_pipeline()
        limits = {"retention.ms": "-1", "max.message.bytes": str(5 << 20)}
        kafka.create_topics(dict.fromkeys(self.topics, PARTITIONS), limits)
        kafka.create_topics({self.dead_letter_topic: 1}, limits | {"cleanup.policy": "compact"})
        indices.clear(elasticsearch)
        self._others = self._index_names()

    def write_pipeline(self, **source: Any) -> None:
        """Write the pipeline's file; further settings of its source are given by name."""
        shipped = document.read_file(PIPELINE).value
        del shipped["tests"]
        shipped["templates"] = str(PIPELINE.parents[1] / "templates")
        shipped["dead_letters"] = {"topic": self.dead_letter_topic}
        settings = {"topics": self.topics, "group": self.group, "session_timeout_ms": SESSION_MS}
        shipped["sources"] = [{"kafka": settings | source}]
        for route in shipped["routes"]:
            route["elasticsearch"].pop("id", None)
        self.pipeline.write_text(json.dumps(shipped))

    def start(self, *options: str) -> Daemon:
        """Start a daemon."""
        log = self.folder / f"daemon-{len(self.daemons)}.log"
        self.daemons.append(Daemon(self.pipeline, self.environment, log, *options))
        return self.daemons[-1]

    def close(self) -> None:
        """End every daemon."""
        for daemon in self.daemons:
            daemon.kill()

    @property
    def logs(self) -> str:
        """Give the ends of the daemons' logs, for a failure."""
        return "\n".join(f"--- {d.log}\n{d.log.read_text()[-2000:]}" for d in self.daemons[-3:])

    def indexed(self) -> int:
        """Count what is indexed so far; 0 while Elasticsearch is away."""
        try:
            return indices.count(self.elasticsearch)
        except (OSError, HTTPException):
            return 0

    def documents(self) -> list[Found]:
        """Read every document of every index that a route may name; there must be no other."""
        ours = [name.strip("*") for name in indices.INDICES.split(",")]
        strange = self._index_names() - self._others
        assert all(name.startswith(tuple(ours)) for name in strange), strange
        found = indices.indexed(self.elasticsearch).items()
        return [Found(index, identity, fields) for (index, identity), fields in found]

    def _index_names(self) -> set[str]:
        return set(
            self.elasticsearch.request("GET", "/*/_settings?filter_path=*.settings.index.uuid")[1]
        )

    def letters(self) -> list[Letter]:
        """Read every dead letter."""
        return asyncio.run(self._letters())

    def committed(self) -> dict[tuple[str, int], int]:
        """Give what the group has committed, by topic and partition."""
        return asyncio.run(self._committed())

    def lag(self) -> int:
        """Count the records of the ledger that are not committed; all while nobody can tell."""
        try:
            committed = self.committed()
        except (KafkaError, OSError):
            return len(self.ledger)
        ends = self.ledger.ends().items()
        return sum(max(0, end - committed.get(place, 0)) for place, end in ends)

    def until(self, done: Callable[[], bool], timeout_s: float, what: str) -> float:
        """Wait until something is so; give the seconds it took."""
        begin = time.monotonic()
        while not done():
            passed = time.monotonic() - begin
            assert passed < timeout_s, f"not {what} within {timeout_s:g} s\n{self.logs}"
            time.sleep(0.25)
        return time.monotonic() - begin

    def until_indexed(self, count: int, timeout_s: float = 90) -> float:
        """Wait until so many documents are there."""
        return self.until(lambda: self.indexed() >= count, timeout_s, f"{count} indexed")

    def until_more(self, timeout_s: float = 60) -> float:
        """Wait until something is indexed that was not there."""
        before = self.indexed()
        return self.until(lambda: self.indexed() > before, timeout_s, "anything indexed")

    def until_progress(self, timeout_s: float = 90) -> float:
        """Wait until an offset is committed, with all that stands before it."""
        behind = self.lag()
        return self.until(
            lambda: self.lag() < max(1, behind), timeout_s, f"fewer than {behind} behind"
        )

    def until_settled(self, timeout_s: float = 120) -> float:
        """Wait until all that was sent is committed."""
        return self.until(lambda: self.lag() == 0, timeout_s, "all committed")

    def verdict(self) -> Verdict:
        """Compare the ledger with what is there."""
        return check(self.ledger.entries, self.documents(), self.letters())

    async def _committed(self) -> dict[tuple[str, int], int]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap)
        try:
            await admin.start()
            offsets = await admin.list_consumer_group_offsets(self.group)
            return {(tp.topic, tp.partition): max(0, at.offset) for tp, at in offsets.items()}
        finally:
            await admin.close()

    async def _letters(self) -> list[Letter]:
        consumer = AIOKafkaConsumer(
            self.dead_letter_topic,
            bootstrap_servers=self.kafka.bootstrap,
            auto_offset_reset="earliest",
            fetch_max_bytes=64 << 20,
            max_partition_fetch_bytes=16 << 20,
        )
        letters = []
        try:
            await consumer.start()
            ends = await consumer.end_offsets(list(consumer.assignment()))
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for batch in (await consumer.getmany(timeout_ms=500)).values():
                    for raw in batch:
                        headers = {k: v.decode(errors="replace") for k, v in raw.headers}
                        letters.append(Letter(raw.key.decode(), raw.value, headers))
        finally:
            await consumer.stop()
        return letters
