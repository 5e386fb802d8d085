"""Masked dead letters on a real broker and a real Elasticsearch: nothing is shown, or replayed."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from ..cli.program import Daemon, Result, enricher

PIPELINE = """\
name: masked
sources:
  - kafka: {{topics: [{topic}], group: {topic}}}
stages:
  - json: {{envelope: message}}
  - convert: {{name: strict, field: amount, on_error: dead_letter}}
  - mask: {{fields: {{upi_vpa: vpa, card: card}}, scan: [card, aadhaar, phone, email]}}
routes:
  - elasticsearch: {{index: "{topic}"}}
dead_letters: {{topic: "{topic}-dead", mask: true}}
connections:
  kafka: {{brokers: "${{KAFKA_BROKERS}}"}}
  elasticsearch: {{hosts: "${{ELASTICSEARCH_URL}}"}}
"""
ENVELOPE = orjson.dumps(
    {
        "message": '{"n": "rakeshsh@example.com", "upi_vpa": "rakeshsh@okaxis", "card": "4111 1111 x"}'
    }
)
RECORDS = [
    (b"+919876543210", b'{"n": 1, "upi_vpa": "rakeshsh@okaxis", "note": "4111111111111111"}'),
    (b"+919876543210", b'{"amount": "paid 4111-1111-1111-1111 today", "n": 2}'),
    (b"a", b"broken: 4111111111111111, 2345 6789 0124"),
    (b"b", ENVELOPE),  # Elasticsearch refuses its `n`
    (b"c", b"broken"),
]
SECRETS = (b"4111111", b"4111-1111", b"4111 1111", b"2345 6789", b"98765", b"rakesh")


class Setting(NamedTuple):
    topic: str
    elasticsearch: Any
    bootstrap: str
    folder: Path
    environment: dict[str, str]

    def dlq(self, command: str, *options: str) -> Result:
        return enricher(
            "dlq", command, "p.yaml", *options, folder=self.folder, environment=self.environment
        )

    def stored(self) -> dict[str, dict[str, Any]]:
        self.elasticsearch.request("POST", f"/{self.topic}/_refresh")
        _, said = self.elasticsearch.request("GET", f"/{self.topic}/_search?size=100")
        return {hit["_id"]: hit["_source"] for hit in said["hits"]["hits"]}


@pytest.fixture
def setting(kafka: Any, elasticsearch: Any, tmp_path: Path) -> Iterator[Setting]:
    """A topic, an index that takes numbers for `n`, and a pipeline that masks."""
    topic = f"masked-{uuid.uuid4().hex[:8]}"
    kafka.create_topics({topic: 1})
    body = {
        "mappings": {"properties": {"n": {"type": "long"}}},
        "settings": {"number_of_replicas": 0},
    }
    assert elasticsearch.request("PUT", f"/{topic}", body)[0] == 200
    (tmp_path / "p.yaml").write_text(PIPELINE.format(topic=topic))
    environment = {"KAFKA_BROKERS": kafka.bootstrap, "ELASTICSEARCH_URL": elasticsearch.url}
    yield Setting(topic, elasticsearch, kafka.bootstrap, tmp_path, environment)
    kafka.delete_topics(topic, f"{topic}-dead")
    elasticsearch.request("DELETE", f"/{topic}")


async def produce(setting: Setting) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=setting.bootstrap)
    await producer.start()
    for number, (key, value) in enumerate(RECORDS):
        at = 1_760_000_000_000 + number
        await producer.send_and_wait(setting.topic, value, key, timestamp_ms=at)
    await producer.stop()


async def letters(setting: Setting, count: int) -> dict[int, Any]:
    """Read so many messages of the dead-letter topic as they lie there, by offset of the record."""
    consumer = AIOKafkaConsumer(
        f"{setting.topic}-dead", bootstrap_servers=setting.bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            found = [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()
    return {int(dict(one.headers)["offset"]): one for one in found}


def test_the_topic_shows_nothing_that_is_masked(setting: Setting) -> None:
    """Value, key, reason, document and log; what is left is not replayed, what is whole may be."""
    asyncio.run(produce(setting))
    with Daemon("run", "p.yaml", folder=setting.folder, environment=setting.environment) as daemon:
        end = time.monotonic() + 60
        while not ((documents := setting.stored()) and "4 dead" in setting.dlq("list").out):
            assert time.monotonic() < end, daemon.text
            time.sleep(0.1)  # between two looks
        daemon.terminate()
        assert daemon.wait() == 0, daemon.text
    found = asyncio.run(letters(setting, 4))
    raw = b"".join(
        (one.key or b"") + one.value + b"".join(part for _, part in one.headers)
        for one in found.values()
    )
    raw += orjson.dumps(documents) + daemon.text.encode() + setting.dlq("show").out.encode()
    assert not [secret for secret in SECRETS if secret in raw]
    (document,) = documents.values()
    assert document == {"n": 1, "upi_vpa": "ra****sh@okaxis", "note": "************1111"}

    headers = {offset: dict(one.headers) for offset, one in found.items()}
    assert {offset for offset, one in headers.items() if one.get("masked") == b"true"} == {1, 2, 3}
    assert headers[1]["key"] == b"+********3210"
    assert headers[1]["reason"].decode() == "amount is no number: …"
    assert found[2].value == b"broken: ************1111, **** **** 0124"
    inner = orjson.loads(orjson.loads(found[3].value)["message"])
    assert inner == {
        "n": "ra****sh@example.com",
        "upi_vpa": "ra****sh@okaxis",
        "card": "**** **** *",
    }
    assert (found[4].value, "masked" in headers[4]) == (b"broken", False)

    done = setting.dlq("replay")
    assert done.code == 1
    assert "3  were masked: they cannot be replayed, and stay" in done.out
    assert "1  failed again and stay" in done.out
    assert len(setting.stored()) == 1
    assert "3 masked; nothing was written" in setting.dlq("replay", "--dry-run").err
