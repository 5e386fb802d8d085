"""What detects fraud is killed again and again: its findings and its windows are as if it had not been."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from redis import Redis

from enricher import document
from enricher.build import build
from enricher.config import load
from enricher.generator import accounts, users
from enricher.lookups import FileLookups
from enricher.model import Document, Record
from tests.integration import ledger as indices
from tests.integration.topic import Sent, each_once, read

from . import results
from .daemon import Daemon
from .scale import SCALE
from .test_killed import producing
from .test_workers import workers
from .world import PARTITIONS, SESSION_MS, World

PIPELINE = Path(__file__).parents[2] / "pipelines" / "fraud-detection.yaml"
SHARE = 0.05
VOLATILE = {"processed_at", "processing_node"}
EXPIRE_S = 3_600
SETTLED_S = 400
"""All that was sent to a daemon that begins with the first record, where others use the machine."""
HIGH, MEDIUM = 60, 30
"""Points above which there is a finding."""
PATIENCE_MS = 5_000
"""For Redis: a look-up that is given up would be another score, and no fault of whoever kills."""


class Findings(NamedTuple):
    """What one reading of the topic came to."""

    documents: dict[str, dict[str, Any]]
    """By the id of the record."""
    high: dict[str, Sent]
    """By the id of the message; so are the next."""
    medium: dict[str, Sent]
    kept: dict[bytes, bytes]
    """In Redis, for whoever asks for a payment."""
    state: dict[bytes, dict[bytes, bytes]]
    """In Redis: all that the windows remember."""


class Detecting:
    """The shipped fraud pipeline in a world; it differs from the file in names and time-outs."""

    def __init__(self, world: World, redis_url: str) -> None:
        self.world = world
        self.topic = world.topics[0]
        self.written = 0
        """Messages on the topics of the last reading, those that stand there twice, too."""
        self._redis: Any = Redis.from_url(redis_url)
        self._redis.mset(dict(accounts()))
        self._prefix = ""

    def begin(self, name: str) -> None:
        """Make ready for a reading from the first record on, by a group of its own."""
        world = self.world
        indices.clear(world.elasticsearch)
        for pattern in ("enricher:state:*", "fraud_alert:*"):
            for key in self._redis.scan_iter(pattern):
                self._redis.delete(key)
        world.group = self._prefix = f"{name}-{self.topic}"
        topics = dict.fromkeys((self._named("high"), self._named("medium")), PARTITIONS)
        world.kafka.create_topics(topics, {"retention.ms": "-1"})
        world.pipeline.write_text(json.dumps(self._pipeline()))

    def _named(self, level: str) -> str:
        return f"{level}-{self._prefix}"

    def _pipeline(self) -> dict[str, Any]:
        shipped: dict[str, Any] = document.read_file(PIPELINE).value
        del shipped["tests"]
        shipped["templates"] = str(PIPELINE.parents[1] / "templates")
        shipped["dead_letters"] = {"topic": self.world.dead_letter_topic}
        shipped["connections"]["redis"]["timeout_ms"] = PATIENCE_MS
        (source,) = shipped["sources"]
        source["kafka"] = {
            "topics": [self.topic],
            "group": self.world.group,
            "group_instance_id": "detector",
            "session_timeout_ms": SESSION_MS,
        }
        for output in shipped["outputs"]:
            if "kafka" in output:
                output["kafka"]["topic"] = self._named(output["name"])
        return shipped

    def end(self, daemon: Daemon) -> Findings:
        """Wait until all is settled, and give what it came to."""
        self.world.until_settled(SETTLED_S)
        assert daemon.stop() == 0, self.world.logs
        verdict = self.world.verdict()
        assert verdict.clean, f"{verdict}\n{self.world.logs}"
        documents = {one.id: stable(one.fields) for one in self.world.documents()}
        high, medium = self._messages("high"), self._messages("medium")
        self.written = len(high) + len(medium)
        kept = self._values("fraud_alert:*")
        assert all(0 < self._redis.ttl(key) <= EXPIRE_S for key in kept)
        states = {
            key: self._redis.hgetall(key) for key in self._redis.scan_iter("enricher:state:*")
        }
        return Findings(documents, once(high), once(medium), kept, states)

    def _messages(self, level: str) -> list[Sent]:
        return asyncio.run(read(self.world.kafka.bootstrap, self._named(level)))

    def _values(self, pattern: str) -> dict[bytes, bytes]:
        keys = list(self._redis.scan_iter(pattern))
        return dict(zip(keys, self._redis.mget(keys), strict=True))


def once(messages: list[Sent]) -> dict[str, Sent]:
    """Read as a reader that drops what comes again by its id; no payment is left twice."""
    found = {one.id: one for one in each_once(messages)}
    assert len({one.key for one in found.values()}) == len(found)
    return found


def stable(fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in VOLATILE}


async def records_of(bootstrap: str, topic: str) -> list[Record]:
    """Read the records of a topic back, partition by partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        found: list[Record] = []
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for place, batch in (await consumer.getmany(timeout_ms=500)).items():
                for raw in batch:
                    name = f"{topic}-{place.partition}-{raw.offset}-{raw.timestamp}"
                    stream = f"{topic}/{place.partition}"
                    found.append(
                        Record(raw.value, name, raw.timestamp, stream, raw.offset, raw.key)
                    )
        return sorted(found, key=lambda one: (one.stream, one.position))
    finally:
        await consumer.stop()


def in_memory(records: list[Record]) -> dict[str, dict[str, Any]]:
    """Give the documents that the embedded store makes of the records, as a dry-run does."""
    plan = build(
        load(PIPELINE, {}, connections={}), FileLookups({**dict(users()), **dict(accounts())})
    )
    found = {}
    for begin in range(0, len(records), 1_000):
        for outcome in asyncio.run(plan.process(records[begin : begin + 1_000])):
            assert isinstance(outcome, Document)
            found[outcome.id] = stable(orjson.loads(outcome.body))
    return found


def check(found: Findings) -> None:
    """Hold what was sent to the documents: one message for each finding, and its value in Redis."""
    scores = {name: fields["fraud_score"] for name, fields in found.documents.items()}
    assert found.high.keys() == {f"{name}/high" for name, score in scores.items() if score > HIGH}
    assert found.medium.keys() == {
        f"{name}/medium" for name, score in scores.items() if MEDIUM < score <= HIGH
    }
    assert found.high
    assert found.medium
    assert {key: orjson.loads(value) for key, value in found.kept.items()} == {
        f"fraud_alert:{one.key}".encode(): one.body for one in found.high.values()
    }


def ended(producer: threading.Thread) -> bool:
    """Tell whether all is sent once it is time for the next kill; the last comes under load."""
    producer.join(SCALE.fraud_killed_every_s)
    return not producer.is_alive()


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["daemon", "workers"])
def test_it_is_killed_every_few_seconds(
    world: World, redis_url: str, options: tuple[str, ...]
) -> None:
    """kill -9 of the daemon, or of one of two workers in turn, while payments come in.

    Scores, messages, values and windows are those of an undisturbed daemon that reads the same
    records afterwards; the scores are those of the embedded store, too.
    """
    detecting = Detecting(world, redis_url)
    detecting.begin("killed")
    daemon = world.start(*options)
    kills = 0
    with producing(world, SCALE.fraud_events, SCALE.fraud_over_s, SHARE) as producer:
        while not ended(producer):
            assert daemon.is_running, world.logs
            if not options:
                daemon.kill()
                daemon = world.start()
            elif running := workers(daemon.process.pid):
                running[kills % len(running)].kill()
            kills += 1
    killed = detecting.end(daemon)
    written = detecting.written
    check(killed)
    verdict = world.verdict()
    detecting.begin("undisturbed")
    undisturbed = detecting.end(world.start())
    assert killed == undisturbed
    assert len(killed.state) > 100
    records = asyncio.run(records_of(world.kafka.bootstrap, detecting.topic))
    assert killed.documents == in_memory(records)
    of_what = "one of two workers that detect" if options else "a daemon that detects"
    results.note(
        f"kill -9 every {SCALE.fraud_killed_every_s:g} s of {of_what} fraud",
        verdict,
        kills=kills,
        alerts=len(killed.high) + len(killed.medium),
        messages_written_twice=written - len(killed.high) - len(killed.medium),
        windows_as_of_an_undisturbed_run=len(killed.state),
    )
