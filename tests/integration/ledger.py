"""What was sent, what must come of it, and what Elasticsearch holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaProducer

from enricher.build import build
from enricher.config import PipelineConfig
from enricher.generator import GeneratedRecord
from enricher.lookups import FileLookups
from enricher.model import DeadLetter, Document, Record

VOLATILE = ("processed_at",)
INDICES = "payment-logs-*,payment-critical-logs-*,fraud-logs-*,application-logs-*"
TOPICS = ("payment-logs", "order-logs", "user-logs", "fraud-logs")


async def send(
    bootstrap: str, records: Iterable[GeneratedRecord], codec: str | None = "zstd"
) -> list[Record]:
    """Produce records and give each one as the source will read it."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type=codec, linger_ms=5, acks="all"
    )
    await producer.start()
    sent = []
    try:
        for r in records:
            sent.append((r, await producer.send(r.topic, r.value, r.key, timestamp_ms=r.timestamp)))
        ledger = []
        for r, pending in sent:
            done = await pending
            place = f"{r.topic}-{done.partition}-{done.offset}-{r.timestamp}"
            stream = f"{r.topic}/{done.partition}"
            ledger.append(Record(r.value, place, r.timestamp, stream, done.offset, r.key))
        return ledger
    finally:
        await producer.stop()


class Expected(NamedTuple):
    """What the dry-run makes of one record."""

    record: Record
    place: tuple[str, str] | None
    """Index and id; None for a dead letter."""
    document: dict[str, Any]


def expected(config: PipelineConfig, ledger: list[Record], lookups: FileLookups) -> list[Expected]:
    """Say what the dry-run makes of each record."""
    plan = build(config, lookups)
    results: list[Expected] = []
    for begin in range(0, len(ledger), 500):
        for outcome in asyncio.run(plan.process(ledger[begin : begin + 500])):
            if isinstance(outcome, Document):
                place = (outcome.index, outcome.id)
                results.append(Expected(outcome.record, place, orjson.loads(outcome.body)))
            elif isinstance(outcome, DeadLetter):
                results.append(Expected(outcome.record, None, {}))
    return results


def verify(
    wanted: list[Expected], found: dict[tuple[str, str], dict[str, Any]], dead: set[str]
) -> None:
    """Hold every record to its one place: indexed as the dry-run says, or a dead letter.

    Where a route named the id, the newest of the records that share it is what is indexed; of
    those of one millisecond, any.
    """
    newest: dict[tuple[str, str], list[Expected]] = {}
    for one in wanted:
        if one.record.id in dead:
            continue
        assert one.place is not None, f"{one.record.id} should be a dead letter"
        assert one.place in found, f"{one.place} of {one.record.id} is lost"
        held = newest.get(one.place, [])
        version = held[0].record.timestamp if held else None
        if version is None or one.record.timestamp == version:
            newest[one.place] = [*held, one]
        elif (one.record.timestamp or 0) > version:
            newest[one.place] = [one]
    for place in found.keys() - newest.keys():
        ids = [one.record.id for one in wanted if one.place == place]
        raise AssertionError(f"{place} is indexed, and of {ids} dead letters are {dead & {*ids}}")
    assert dead <= {one.record.id for one in wanted}
    for place, candidates in newest.items():
        assert stable(found[place]) in [stable(one.document) for one in candidates], place


def indexed(elasticsearch: Any, indices: str = INDICES) -> dict[tuple[str, str], dict[str, Any]]:
    """Read every document back by (index, id). A document in two indices counts twice."""
    elasticsearch.request("POST", f"/{indices}/_refresh")
    documents: dict[tuple[str, str], dict[str, Any]] = {}
    after: list[Any] | None = None
    while True:
        query: dict[str, Any] = {"size": 10_000, "sort": [{"_shard_doc": "asc"}]}
        if after is None:
            pit = elasticsearch.request("POST", f"/{indices}/_pit?keep_alive=1m")[1]["id"]
        query["pit"] = {"id": pit, "keep_alive": "1m"}
        if after is not None:
            query["search_after"] = after
        hits = elasticsearch.request("POST", "/_search", query)[1]["hits"]["hits"]
        if not hits:
            return documents
        for hit in hits:
            documents[hit["_index"], hit["_id"]] = hit["_source"]
        after = hits[-1]["sort"]


def clear(elasticsearch: Any, indices: str = INDICES) -> None:
    """Delete every index of ours by name: Elasticsearch refuses to delete by a pattern."""
    _, indices = elasticsearch.request("GET", f"/{indices}/_settings?ignore_unavailable=true")
    for name in indices:
        assert elasticsearch.request("DELETE", f"/{name}")[0] == 200


def count(elasticsearch: Any, indices: str = INDICES) -> int:
    """Count what is indexed so far."""
    elasticsearch.request("POST", f"/{indices}/_refresh?ignore_unavailable=true")
    status, answer = elasticsearch.request("GET", f"/{indices}/_count")
    return int(answer["count"]) if status == 200 else 0


def wait_for_count(
    elasticsearch: Any, wanted: int, timeout_s: float = 120, indices: str = INDICES
) -> int:
    """Wait until at least so many documents are indexed; give the last count."""
    end = time.monotonic() + timeout_s
    while (found := count(elasticsearch, indices)) < wanted and time.monotonic() < end:
        time.sleep(0.3)
    return found


def stable(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out what may differ on a replay."""
    return {key: value for key, value in document.items() if key not in VOLATILE}
