"""`enricher dlq` on a real broker and a real Elasticsearch: refused, looked at, repaired, replayed."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from ..cli.program import Daemon, Result, enricher

BROKEN = """\
name: orders
sources:
  - kafka: {{topics: [{topic}], group: {topic}}}
stages:
  - json: {{max_bytes: 1000}}
  - convert: {{name: strict, field: amount, on_error: dead_letter}}
routes:
  - when: order != null
    elasticsearch: {{index: "{topic}-by-order", id: "{{order}}"}}
  - elasticsearch: {{index: "{topic}"}}
dead_letters: {{topic: "{topic}-dead"}}
connections:
  kafka: {{brokers: "${{KAFKA_BROKERS}}"}}
  elasticsearch: {{hosts: "${{ELASTICSEARCH_URL}}"}}
alerts:
  - {{name: Always, when: amount != null, summary: paged}}
"""
REPAIR = (
    ("{max_bytes: 1000}", "{}"),
    (
        "on_error: dead_letter}",
        """on_error: tag}
  - drop: {when: junk == true}
  - remove: {when: n == "text", fields: [n]}""",
    ),
)
SETTLING_S = 60.0


class Setting(NamedTuple):
    topic: str
    kafka: Any
    elasticsearch: Any
    folder: Path
    environment: dict[str, str]

    def dlq(self, command: str, *arguments: str) -> Result:
        return enricher(
            "dlq",
            command,
            "orders.yaml",
            *arguments,
            folder=self.folder,
            environment=self.environment,
        )

    def daemon(self) -> Daemon:
        return Daemon("run", "orders.yaml", folder=self.folder, environment=self.environment)

    def listed(self, *arguments: str) -> dict[tuple[str, str], int]:
        """Count what is in the queue, by stage and error."""
        result = self.dlq("list", "--format", "ndjson", *arguments)
        assert result.code == 0, result.err
        counts: Counter[tuple[str, str]] = Counter()
        for one in result.lines:
            counts[one["stage"], one["error"]] += one["count"]
        return counts

    def letters(self) -> dict[str, dict[str, Any]]:
        """Give the letters by id."""
        return {one["id"]: one for one in self.dlq("show", "--format", "ndjson").lines}

    def stored(self, index: str) -> dict[str, Any]:
        """Give the documents of an index by id."""
        self.elasticsearch.request("POST", f"/{index}/_refresh")
        status, said = self.elasticsearch.request("GET", f"/{index}/_search?size=1000")
        assert status == 200, said
        return {hit["_id"]: hit["_source"] for hit in said["hits"]["hits"]}

    def repair(self) -> None:
        """Mend the pipeline file, as somebody does who has seen the letters."""
        file = self.folder / "orders.yaml"
        text = file.read_text()
        for before, after in REPAIR:
            assert before in text
            text = text.replace(before, after)
        file.write_text(text)


@pytest.fixture
def setting(kafka: Any, elasticsearch: Any, tmp_path: Path) -> Iterator[Setting]:
    """A topic, an index that takes numbers for `n`, and a pipeline that refuses some records."""
    topic = f"orders-{uuid.uuid4().hex[:8]}"
    kafka.create_topics({topic: 2})
    properties = {"n": {"type": "long"}, "amount": {"type": "keyword"}}
    mappings = {"mappings": {"properties": properties}}
    settings = {"settings": {"number_of_replicas": 0}}
    for index in (topic, f"{topic}-by-order"):
        assert elasticsearch.request("PUT", f"/{index}", mappings | settings)[0] == 200
    (tmp_path / "orders.yaml").write_text(BROKEN.format(topic=topic))
    environment = {"KAFKA_BROKERS": kafka.bootstrap, "ELASTICSEARCH_URL": elasticsearch.url}
    yield Setting(topic, kafka, elasticsearch, tmp_path, environment)
    kafka.delete_topics(topic, f"{topic}-dead")
    for index in (topic, f"{topic}-by-order"):
        elasticsearch.request("DELETE", f"/{index}")


def produce(setting: Setting, values: list[bytes], begin: int = 1_760_000_000_000) -> list[str]:
    """Produce records a second apart, and give the ids that they will have."""

    async def run() -> list[str]:
        producer = AIOKafkaProducer(bootstrap_servers=setting.kafka.bootstrap)
        await producer.start()
        try:
            ids = []
            for number, value in enumerate(values):
                at = begin + 1000 * number
                done = await producer.send_and_wait(
                    setting.topic, value, b"key-%d" % number, timestamp_ms=at
                )
                ids.append(f"{setting.topic}-{done.partition}-{done.offset}-{at}")
            return ids
        finally:
            await producer.stop()

    return asyncio.run(run())


def run_until(setting: Setting, letters: int, documents: int) -> None:
    """Run the daemon until so many letters and documents are there."""
    end = time.monotonic() + SETTLING_S
    with setting.daemon() as daemon:
        while True:
            counts = (sum(setting.listed().values()), len(setting.stored(setting.topic)))
            if counts == (letters, documents):
                break
            assert time.monotonic() < end, (counts, daemon.text)
            time.sleep(0.2)
        daemon.terminate()
        assert daemon.wait() == 0, daemon.text


def test_refused_records_are_repaired_and_replayed(setting: Setting) -> None:
    """Everything ends in the index exactly once under its original id, and the queue is empty."""
    values = [
        b'{"amount": "5"}',
        b'{"amount": "twelve"}',  # the stage refuses it
        b'{"n": "text"}',  # Elasticsearch refuses it
        b'{"long": "%s"}' % (b"x" * 2000),  # json refuses it
        b'{"order": "o1", "amount": "old"}',
        b'{"order": "o1", "amount": "7"}',  # newer than the one before
        b'{"amount": "junk", "junk": true}',
        b"\xff{broken",
        b"",
    ]
    ids = produce(setting, values)
    run_until(setting, letters=7, documents=1)

    assert setting.listed() == {
        ("strict", "Failure"): 3,
        ("elasticsearch", "document_parsing_exception"): 1,
        ("json", "TooLarge"): 1,
        ("json", "NotJson"): 2,
    }
    assert setting.listed("--stage", "json", "--reason", "NOT JSON") == {("json", "NotJson"): 2}
    assert setting.listed("--until", "2020-01-01") == {}
    letter = setting.letters()[ids[1]]
    assert letter["value"] == '{"amount": "twelve"}'
    assert (letter["key"], letter["timestamp"]) == ("key-1", 1_760_000_001_000)
    assert letter["stream"].startswith(f"{setting.topic}/")
    assert letter["pipeline"].startswith("orders@")
    text = setting.dlq("show", ids[7]).out
    assert "ff 7b 62 72 6f 6b 65 6e" in text
    assert "NotJson" in text

    setting.repair()
    tried = setting.dlq("replay", "--dry-run", "--format", "json")
    assert tried.code == 1
    outcomes = {one["record"]: one["outcome"] for one in tried.lines}
    assert outcomes == {
        ids[1]: "document",
        ids[2]: "document",
        ids[3]: "document",
        ids[4]: "document",
        ids[6]: "dropped",
        ids[7]: "dead_letter",
        ids[8]: "dead_letter",
    }
    assert sum(setting.listed().values()) == 7
    assert len(setting.stored(setting.topic)) == 1

    done = setting.dlq("replay", "--format", "json")
    assert done.code == 1, done.err
    (result,) = done.lines
    assert result["settled"] == 5
    assert result["documents"] == {setting.topic: 3, f"{setting.topic}-by-order": 1}
    assert result["dropped"] == {"drop": 1}
    assert result["failed_again"] == 2
    assert "paged" not in done.out + done.err
    found = setting.stored(setting.topic)
    assert found.keys() == {ids[0], ids[1], ids[2], ids[3]}
    assert found[ids[1]]["amount"] == "twelve"
    assert setting.stored(f"{setting.topic}-by-order")["o1"]["amount"] == 7, "the newer one stays"

    assert setting.letters().keys() == {ids[7], ids[8]}
    assert setting.dlq("purge", "--yes").code == 0
    assert setting.listed() == {}
    assert setting.dlq("replay").code == 0


def test_replay_that_is_killed_between_sink_and_tombstone(setting: Setting) -> None:
    """`kill -9` once the documents are written: the next replay finds them, and writes none twice."""
    ids = produce(setting, [b'{"amount": "no %d"}' % number for number in range(50)])
    run_until(setting, letters=50, documents=0)
    setting.repair()
    blocks = f"/{setting.topic}/_settings"
    setting.elasticsearch.request("PUT", blocks, {"index.blocks.write": True})
    command = ("dlq", "replay", "orders.yaml")
    with Daemon(*command, folder=setting.folder, environment=setting.environment) as replay:
        replay.wait_for("until that is put right")  # the letters are read, and wait for the sink
        setting.kafka.pause()
        setting.elasticsearch.request("PUT", blocks, {"index.blocks.write": None})
        end = time.monotonic() + SETTLING_S
        while len(setting.stored(setting.topic)) < 50:
            assert time.monotonic() < end, replay.text
            time.sleep(0.1)
        assert replay.process.poll() is None, replay.text
        replay.process.kill()
        replay.wait()
    setting.kafka.resume()
    assert sum(setting.listed().values()) == 50, "no tombstone was written"
    before = versions(setting)

    done = setting.dlq("replay", "--format", "json")
    assert done.code == 0, done.err
    assert done.lines[0]["settled"] == 50
    assert setting.listed() == {}
    assert versions(setting) == before
    assert before.keys() == set(ids)


def versions(setting: Setting) -> dict[str, tuple[int, int]]:
    """Give version and sequence number of every document: both change when it is written again."""
    setting.elasticsearch.request("POST", f"/{setting.topic}/_refresh")
    query = {"size": 1000, "version": True, "seq_no_primary_term": True}
    _, said = setting.elasticsearch.request("POST", f"/{setting.topic}/_search", query)
    return {hit["_id"]: (hit["_version"], hit["_seq_no"]) for hit in said["hits"]["hits"]}


def test_purge_takes_what_the_filters_say(setting: Setting) -> None:
    """Without a filter, and nobody to ask, it refuses."""
    ids = produce(setting, [b'{"amount": "no"}', b"{broken", b"{torn"])
    run_until(setting, letters=3, documents=0)
    refused = setting.dlq("purge")
    assert refused.code == 2
    assert "--yes" in refused.err
    done = setting.dlq("purge", "--error", "NotJson", "--limit", "1")
    assert done.out.startswith("1 dead letter removed")
    assert setting.letters().keys() == {ids[0], ids[2]}
    assert setting.dlq("purge", "--id", ids[2]).code == 0
    assert setting.letters().keys() == {ids[0]}


def test_file_of_shown_letters_can_be_replayed(setting: Setting) -> None:
    """What `show --format ndjson` prints is a queue of its own."""
    ids = produce(setting, [b'{"amount": "no"}', b'{"amount": "neither"}'])
    run_until(setting, letters=2, documents=0)
    backup = setting.folder / "backup.ndjson"
    backup.write_text(setting.dlq("show", "--format", "ndjson").out)
    assert setting.dlq("purge", "--yes").code == 0
    setting.repair()
    done = setting.dlq("replay", "--dead-letters", "backup.ndjson")
    assert done.code == 0, done.err
    assert setting.stored(setting.topic).keys() == set(ids)
    assert backup.read_bytes() == b""


def test_topic_that_is_missing_is_empty(setting: Setting) -> None:
    """Nothing was ever refused: the topic is not made by looking for it."""
    done = setting.dlq("list", "--format", "json")
    assert done.code == 0, done.err
    assert orjson.loads(done.out)["dead_letters"] == 0
    assert setting.dlq("show", "nothing").code == 1


def test_broker_that_is_away_is_told_in_a_line(setting: Setting) -> None:
    """A command does not wait as the daemon does."""
    away = setting._replace(environment={**setting.environment, "KAFKA_BROKERS": "127.0.0.1:1"})
    done = away.dlq("list")
    assert done.code == 2
    assert "127.0.0.1:1 cannot be read" in done.err
