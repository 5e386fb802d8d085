"""Kafka to Elasticsearch on real servers: client CPU an event, memory, throughput."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from bench import floor
from enricher.generator import generate, users
from tests.admin_client import get
from tests.integration import ledger
from tests.servers.elasticsearch import Elasticsearch
from tests.servers.kafka import Kafka
from tests.servers.valkey import Valkey

PIPELINE = "pipelines/payments.yaml"


def run(count: int, codec: str | None = None) -> dict[str, Any]:
    """Measure the daemon from its start until the last event is indexed.

    Records are compressed in batches of 16 KiB, or not at all: both as producers do by default.

    The CPU an event is that of the last three quarters: by then caches are filled and loops
    are generated, as in a daemon that has run for a minute.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers: list[Any] = [
            Kafka(folder / "kafka"),
            Elasticsearch(folder / "elasticsearch", quick=False),
            Valkey(folder / "valkey"),
        ]
        try:
            for server in servers:
                server.folder.mkdir(exist_ok=True)
                server.start()
            return _measure(servers, count, codec, folder / "admin")
        finally:
            for server in servers:
                server.stop()


def _measure(servers: list[Any], count: int, codec: str | None, admin: Path) -> dict[str, Any]:
    kafka, elasticsearch, valkey = servers
    client = Redis.from_url(valkey.url)
    client.mset(dict(users()))
    client.close()
    kafka.create_topics(dict.fromkeys(ledger.TOPICS, 2), config={"retention.ms": "-1"})
    environment = {
        **os.environ,
        "KAFKA_BROKERS": kafka.bootstrap,
        "ELASTICSEARCH_URL": elasticsearch.url,
        "ELASTICSEARCH_REPLICAS": "0",
        "ELASTICSEARCH_SHARDS": "1",
        "REDIS_URL": valkey.url,
        "ENRICHER_ADMIN": f"unix:{admin}",
    }
    idle = _daemon(environment)
    time.sleep(5)
    start_cpu = sum(idle.cpu_times()[:2])
    idle_rss = idle.memory_info().rss
    _end(idle)
    events = list(generate(count, days=1))
    asyncio.run(ledger.send(kafka.bootstrap, events, codec))
    values = [event.value for event in events[:2000]]
    daemon = _daemon(environment)
    begin, peak, found = time.monotonic(), 0, 0
    floors: list[float] = []
    warm, warm_cpu = 0, 0.0
    while found < count and time.monotonic() - begin < 180:
        for _ in range(10):
            peak = max(peak, daemon.memory_info().rss)
            time.sleep(0.05)
        floors.append(floor.of(values))
        found = ledger.count(elasticsearch)
        if not warm and found >= count / 4:
            warm, warm_cpu = _settled(admin), sum(daemon.cpu_times()[:2])
    seconds = time.monotonic() - begin
    cpu = sum(daemon.cpu_times()[:2])
    _end(daemon)
    return {
        "events": found,
        "cpu_us": (cpu - warm_cpu) / (found - warm) * 1e6,
        "all_cpu_us": (cpu - start_cpu) / found * 1e6,
        "floor_us": statistics.median(floors) * 1e6,
        "start_cpu_s": start_cpu,
        "events_per_second": found / seconds,
        "idle_mib": idle_rss / 2**20,
        "peak_mib": peak / 2**20,
    }


def _settled(admin: Path) -> int:
    """Give how many records the daemon is done with: what can be found lags behind."""
    _, text = get(admin, "/metrics")
    families = text_string_to_metric_families(text)
    return int(
        sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == "enricher_records_settled_total"
        )
    )


def _daemon(environment: dict[str, str]) -> psutil.Popen:
    command = [sys.executable, "-m", "enricher", "run", PIPELINE]
    return psutil.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _end(daemon: psutil.Popen) -> None:
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(60)
