"""The shipped fraud pipeline, as a daemon, from real Kafka, with its state in real Valkey."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from redis import Redis

from enricher.build import build
from enricher.config import PipelineConfig, load
from enricher.generator import GeneratedRecord
from enricher.given import Given
from enricher.inline_tests import Difference, compare, prepare
from enricher.lookups import FileLookups
from enricher.model import Document, Record
from enricher.state.script import SLACK_MS
from tests.cli.program import ROOT, Daemon
from tests.integration import ledger

PIPELINE = ROOT / "pipelines" / "fraud-detection.yaml"
TOPIC = "payment-logs"
ALERTS = ("fraud-alerts-high", "fraud-alerts-medium")
VOLATILE = {"processed_at", "processing_node"}
PATIENCE_S = 60.0
PARTITIONS = 4


class Rig(NamedTuple):
    """The servers, and a folder for what runs write."""

    kafka: Any
    valkey: Any
    redis: Redis
    folder: Path

    def send(self, records: Sequence[tuple[bytes, int]]) -> list[Record]:
        """Send events with their timestamps, keyed by user."""
        made = (
            GeneratedRecord(TOPIC, orjson.loads(value).get("user_id", "").encode(), value, at)
            for value, at in records
        )
        return asyncio.run(ledger.send(self.kafka.bootstrap, made))

    def run(self, group: str, count: int, *options: str) -> dict[str, tuple[str, dict[str, Any]]]:
        """Read the topic from its beginning, and give index and document by record."""
        folder = self.folder / group
        folder.mkdir()
        text = PIPELINE.read_text().replace("group: enricher-fraud-detection", f"group: {group}")
        (folder / "p.yaml").write_text(text.replace("templates: ../templates", ""))
        store = folder / "store.db"
        (folder / "c.yaml").write_text(
            f"kafka: {{brokers: '{self.kafka.bootstrap}'}}\n"
            f"redis: {{url: '{self.valkey.url}'}}\nelasticsearch: {{store: {store}}}\n"
        )
        arguments = ("run", "p.yaml", "--connections", "c.yaml", *options)
        with Daemon(*arguments, folder=folder) as daemon:
            found = self._wait(store, count, daemon)
            daemon.terminate()
            assert daemon.wait(PATIENCE_S) == 0, daemon.text
        return found

    def _wait(
        self, store: Path, count: int, daemon: Daemon
    ) -> dict[str, tuple[str, dict[str, Any]]]:
        end = time.monotonic() + PATIENCE_S
        rows: list[Any] = []
        while len(rows) < count:
            assert daemon.process.poll() is None, daemon.text
            assert time.monotonic() < end, (len(rows), count, daemon.text)
            time.sleep(0.1)  # between two looks
            if store.exists():
                rows = documents(store)
        assert len(rows) == count
        return {
            row[1]: (
                row[0],
                {k: v for k, v in orjson.loads(row[2]).items() if k not in VOLATILE},
            )
            for row in rows
        }

    def state(self) -> dict[bytes, Any]:
        """Give everything that the windows remember."""
        return {key: self.redis.hgetall(key) for key in self.redis.scan_iter("enricher:state:*")}


def documents(store: Path) -> list[Any]:
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        return connection.execute('SELECT "index", id, document FROM documents').fetchall()
    except sqlite3.OperationalError:  # it is being made
        return []
    finally:
        connection.close()


@pytest.fixture
def rig(kafka: Any, valkey: Any, tmp_path: Path) -> Iterator[Rig]:
    kafka.delete_topics(TOPIC, *ALERTS, "fraud-dead-letters")
    topics = {TOPIC: PARTITIONS, **dict.fromkeys(ALERTS, 1)}
    kafka.create_topics(topics, config={"retention.ms": "-1"})
    with Redis.from_url(valkey.url) as client:
        client.flushdb()
        yield Rig(kafka, valkey, client, tmp_path)
        client.flushdb()


def own_users(config: PipelineConfig) -> tuple[list[list[Given]], dict[str, bytes]]:
    """Give the records of the tests in the file, and what they look up, each with its own users."""
    tests, lookups = [], {}
    for number, (test, events) in enumerate(
        zip(config.pipeline.tests, prepare(config, build(config)), strict=True)
    ):
        mine = f"{number}-"
        renamed = []
        for one in events:
            event = orjson.loads(one.record.value)
            event["user_id"] = event["user_id"] and mine + event["user_id"]
            renamed.append(one._replace(record=one.record._replace(value=orjson.dumps(event))))
        tests.append(renamed)
        for key, value in test.lookups.items():
            lookups[key.replace(":u", f":{mine}u")] = orjson.dumps(value)
    return tests, lookups


def test_every_rule_at_its_boundary(rig: Rig) -> None:
    """The tests of the file hold through real servers, all at once; so they do when all is read again.

    Every boundary of every rule stands in them. The second reading, by another group, gives each
    record the document that it had, and leaves the state as it was, byte by byte.
    """
    config = load(PIPELINE, {}, connections={})
    tests, lookups = own_users(config)
    rig.redis.mset(lookups)
    wanted = [one for events in tests for one in events]
    sent = rig.send([(one.record.value, one.record.timestamp or 0) for one in wanted])
    is_dropped = [any(expect.dropped for expect in one.expects) for one in wanted]
    count = is_dropped.count(False)
    first = rig.run("first", count)
    wrong: list[Difference] = []
    for one, record, dropped in zip(wanted, sent, is_dropped, strict=True):
        assert (record.id in first) != dropped, record
        for expect in () if dropped else one.expects:
            index, event = first[record.id]
            # The store keeps alerts apart, outputs go elsewhere, and the id is the record's own.
            outcome = Document(record, "s", index, record.id, None, orjson.dumps(event))
            shown = expect.model_copy(update={"alerts": None, "outputs": None, "id": None})
            wrong += compare(shown, outcome)
    assert wrong == []
    assert sum(len(one.expects) for one in wanted) >= len(tests) > 80
    before = rig.state()
    assert len(before) > 50
    assert rig.run("second", count) == first
    assert rig.state() == before
    for key in before:
        left_s: Any = rig.redis.ttl(key)
        assert 30 * 86_400 < left_s <= 31 * 86_400 + SLACK_MS // 1000


def payments(count: int, seed: int) -> Iterator[tuple[bytes, int]]:
    """Make payments of a few users: bursts, ties in time, some late, some sent twice."""
    dice, now_ms = random.Random(seed), 1_763_620_000_000
    for number in range(count):
        now_ms += dice.choice([0, 0, 500, 20_000])
        at_ms = now_ms - dice.choice([0, 0, 0, 700_000])
        event = {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ms / 1000)),
            "service": "payment-service",
            "level": "BUSINESS",
            "user_id": f"user-{dice.randrange(40):05}",
            "payment_id": f"p{number - dice.choice([0] * 20 + [1])}",
            "amount": dice.choice([10, 99.9, 200, 5_000.01]),
            "ip_address": dice.choice(["59.182.0.1", "117.235.1.1", "10.0.0.1"]),
        }
        yield orjson.dumps(event), now_ms


def test_two_workers_give_the_scores_of_one(rig: Rig) -> None:
    """On the same topic, keyed by user; the state is the same in the end, too."""
    sent = rig.send(list(payments(3_000, seed=1)))
    alone = rig.run("alone", len(sent))
    state = rig.state()
    for key in state:
        rig.redis.delete(key)
    assert rig.run("both", len(sent), "--workers", "2") == alone
    assert rig.state() == state
    memory = in_memory(sent)
    assert {id_: event for id_, (_, event) in alone.items()} == memory


def in_memory(sent: list[Record]) -> dict[str, dict[str, Any]]:
    """Give what the embedded store makes of the same records, partition by partition."""
    plan = build(load(PIPELINE, {}, connections={}), FileLookups({}))
    found = {}
    for outcome in asyncio.run(
        plan.process(sorted(sent, key=lambda one: (one.stream, one.position)))
    ):
        assert isinstance(outcome, Document)
        event = orjson.loads(outcome.body)
        found[outcome.id] = {k: v for k, v in event.items() if k not in VOLATILE}
    return found
