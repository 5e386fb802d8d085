"""The servers that the other integration tests run on start, keep their data and can be broken."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Thread
from typing import Any

import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from elasticsearch import Elasticsearch as Client

from ..servers.elasticsearch import Elasticsearch
from ..servers.kafka import Kafka
from ..servers.valkey import Valkey

PAYMENTS = {
    "mappings": {
        "properties": {
            "amount": {"type": "scaled_float", "scaling_factor": 100},
            "user_data": {"type": "flattened"},
            "geoip": {"properties": {"location": {"type": "geo_point"}}},
        }
    },
    "settings": {
        "number_of_shards": 3,
        "index.lifecycle.name": "logs",
        "index.lifecycle.rollover_alias": "payments",
    },
}
PUNE: dict[str, Any] = {
    "amount": 499.99,
    "user_data": {"tier": "gold"},
    "geoip": {"location": {"lat": 18.52, "lon": 73.86}},
}
LEH: dict[str, Any] = {
    "amount": 20,
    "user_data": {"tier": "new"},
    "geoip": {"location": {"lat": 34.15, "lon": 77.58}},
}


@asynccontextmanager
async def _producer(kafka: Kafka) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, compression_type="zstd", acks="all"
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def _produce(kafka: Kafka, topic: str, value: bytes) -> None:
    async with _producer(kafka) as producer:
        await producer.send_and_wait(topic, value, partition=1)


async def _consume_one(kafka: Kafka, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 1)])
        record = await asyncio.wait_for(consumer.getone(), 10)
        value: bytes | None = record.value
        return value
    finally:
        await consumer.stop()


def test_kafka_returns_a_compressed_record(kafka: Kafka) -> None:
    """A record that was compressed with zstd comes back as it was."""
    kafka.create_topics({"servers-zstd": 2})
    value = json.dumps(PUNE).encode() * 50

    asyncio.run(_produce(kafka, "servers-zstd", value))

    assert asyncio.run(_consume_one(kafka, "servers-zstd")) == value


def test_kafka_makes_no_topic_by_itself(kafka: Kafka) -> None:
    """Asking for a topic that nobody created does not create it."""

    async def topics() -> list[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        try:
            await admin.describe_topics(["servers-typo"])
            names: list[str] = await admin.list_topics()
            return names
        finally:
            await admin.close()

    assert "servers-typo" not in asyncio.run(topics())


def test_a_server_outlives_the_thread_that_started_it(valkey: Valkey) -> None:
    """A restart from a short-lived thread leaves a server that keeps running."""
    thread = Thread(target=valkey.restart)
    thread.start()
    thread.join()

    with redis.Redis.from_url(valkey.url) as client:
        assert client.ping()
    assert valkey.is_running


def test_kafka_keeps_its_data_when_killed(kafka: Kafka) -> None:
    """An acknowledged record survives SIGKILL, and the address stays the same."""
    kafka.create_topics({"servers-killed": 2})
    address = kafka.bootstrap
    asyncio.run(_produce(kafka, "servers-killed", b"kept"))

    kafka.kill()
    assert not kafka.is_running
    kafka.start()

    assert kafka.bootstrap == address
    assert asyncio.run(_consume_one(kafka, "servers-killed")) == b"kept"


def test_elasticsearch_installs_templates_and_refuses_duplicates(
    elasticsearch: Elasticsearch,
) -> None:
    """A shipped kind of template installs, a second create is a conflict, and geo queries find the document."""
    with Client(elasticsearch.url) as client:
        client.ilm.put_lifecycle(
            name="logs",
            policy={"phases": {"delete": {"min_age": "90d", "actions": {"delete": {}}}}},
        )
        client.indices.put_index_template(
            name="servers", index_patterns=["servers-*"], template=PAYMENTS
        )
        operations = [{"create": {"_id": "a"}}, PUNE, {"create": {"_id": "b"}}, LEH]

        first = client.bulk(index="servers-1", operations=operations, refresh=True)
        second = client.bulk(index="servers-1", operations=operations)
        near = {"distance": "50km", "geoip.location": {"lat": 18.5, "lon": 73.9}}
        found = client.search(index="servers-1", query={"geo_distance": near})
        gold = client.count(index="servers-1", query={"term": {"user_data.tier": "gold"}})

    assert [item["create"]["status"] for item in first["items"]] == [201, 201]
    assert [item["create"]["status"] for item in second["items"]] == [409, 409]
    assert [hit["_id"] for hit in found["hits"]["hits"]] == ["a"]
    assert gold["count"] == 1


def test_elasticsearch_stands_in_for_lifecycle_policies_and_the_root(
    elasticsearch: Elasticsearch,
) -> None:
    """A client can ask for the version, and install, read and delete a lifecycle policy."""
    with Client(elasticsearch.url) as client:
        assert client.info()["version"]["number"] == "8.19.0"
        policy: dict[str, Any] = {"phases": {"hot": {"actions": {}}}}
        client.ilm.put_lifecycle(name="servers", policy=policy)
        assert client.ilm.get_lifecycle(name="servers")["servers"]["policy"] == policy
        client.ilm.delete_lifecycle(name="servers")
    assert elasticsearch.request("GET", "/_ilm/policy/servers")[0] == 404


def test_elasticsearch_keeps_its_data_when_killed(elasticsearch: Elasticsearch) -> None:
    """An accepted document survives SIGKILL without a refresh or a flush."""
    elasticsearch.request("PUT", "/servers-killed/_doc/a", PUNE)

    elasticsearch.kill()
    elasticsearch.start()

    status, document = elasticsearch.request("GET", "/servers-killed/_doc/a")
    assert (status, document["_source"]) == (200, PUNE)


def test_valkey_answers_and_keeps_its_data_when_killed(valkey: Valkey) -> None:
    """MGET returns what SET stored, and None for what is missing, after SIGKILL too."""
    with redis.Redis.from_url(valkey.url) as client:
        client.set("servers:a", "1")
        assert client.mget("servers:a", "servers:b") == [b"1", None]

        valkey.kill()
        valkey.start()

        assert client.mget("servers:a", "servers:b") == [b"1", None]


def test_a_paused_server_comes_back(valkey: Valkey) -> None:
    """A paused server accepts no request; once resumed it answers."""
    with redis.Redis.from_url(valkey.url, socket_timeout=0.2, retry=None) as client:
        client.ping()
        valkey.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        valkey.resume()
        assert client.ping()
