"""`python -m bench.fraud [RATE] [SECONDS]`: from a payment's timestamp to its alert on the topic.

Everything is on this machine: Kafka, Elasticsearch, Valkey, the daemon, the producer and the
reader of alerts. Payments are stamped when they are sent; an alert is there when a consumer has it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

import psutil
from aiokafka import AIOKafkaConsumer
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from bench.fraud_producer import PARTITIONS, TOPIC
from enricher.generator import accounts, users
from tests.servers.elasticsearch import Elasticsearch
from tests.servers.kafka import Kafka
from tests.servers.process import free_ports
from tests.servers.valkey import Valkey

PIPELINE = "pipelines/fraud-detection.yaml"
ALERTS = ("fraud-alerts-high", "fraud-alerts-medium")
RATE, SECONDS = 5_000, 120
WARM_S = 60
"""Sent before what counts: caches fill, loops are generated, the servers get to full speed."""
PATIENCE_S = 60


class Setting(NamedTuple):
    """Where everything is."""

    kafka: Kafka
    environment: dict[str, str]
    admin: str
    pids: dict[str, int]
    """Of the servers."""


@contextmanager
def servers() -> Iterator[Setting]:
    """Start all servers, with topics and with what Redis knows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("kafka", "elasticsearch", "valkey"):
            (folder / part).mkdir()
        kafka = Kafka(folder / "kafka", quick=False)
        elasticsearch = Elasticsearch(folder / "elasticsearch", quick=False)
        valkey = Valkey(folder / "valkey", "--appendfsync", "everysec")
        started: list[Any] = [kafka, elasticsearch, valkey]
        try:
            for server in started:
                server.start()
            with Redis.from_url(valkey.url) as client:
                client.mset({**dict(users()), **dict(accounts())})
            kafka.create_topics(dict.fromkeys((TOPIC, *ALERTS), PARTITIONS))
            (port,) = free_ports(1)
            urls = {
                "KAFKA_BROKERS": kafka.bootstrap,
                "ELASTICSEARCH_URL": elasticsearch.url,
                "REDIS_URL": valkey.url,
                "ENRICHER_ADMIN": f"127.0.0.1:{port}",
            }
            one_node = {"ELASTICSEARCH_REPLICAS": "0", "ELASTICSEARCH_SHARDS": "1"}
            pids = {server.name: server.pid for server in started}
            environment = {**os.environ, **urls, **one_node}
            yield Setting(kafka, environment, f"http://127.0.0.1:{port}", pids)
        finally:
            for server in started:
                server.stop()


def run(rate: int, seconds: int, *options: str, logs_above: int = -1) -> dict[str, Any]:
    """Measure the daemon with these options; times in seconds.

    Of payments with a score above `logs_above` Elasticsearch gets a document.
    """
    with servers() as setting:
        producer = _python(
            ["bench.fraud_producer", setting.kafka.bootstrap, str(rate), str(WARM_S + seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert producer.stdout.readline() == "ready\n"
        daemon = _python(
            ["enricher", "run", PIPELINE, *options],
            env={**setting.environment, "FRAUD_LOGS_ABOVE": str(logs_above)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while not _is_ready(setting.admin):
                time.sleep(0.2)
            return asyncio.run(_measure(setting, producer, daemon, seconds))
        finally:
            producer.kill()
            producer.wait()
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(PATIENCE_S)


async def _measure(setting: Setting, producer: Any, daemon: Any, seconds: int) -> dict[str, Any]:
    consumer = AIOKafkaConsumer(*ALERTS, bootstrap_servers=setting.kafka.bootstrap)
    await consumer.start()
    seen: list[tuple[float, float]] = []  # when its payment was sent, and its latency
    reading = asyncio.create_task(_read(consumer, seen))
    processes = {"daemon": daemon, "producer": producer, "reader": psutil.Process()}
    processes |= {name: psutil.Process(pid) for name, pid in setting.pids.items()}
    try:
        await consumer.end_offsets(consumer.assignment())
        producer.stdin.write("go\n")
        producer.stdin.flush()
        await asyncio.sleep(WARM_S)
        begin, before = time.time(), await asyncio.to_thread(_told, setting.admin)
        used, busy = _used(processes), _busy()
        await asyncio.sleep(seconds)
        cores = {name: (cpu - used[name]) / seconds for name, cpu in _used(processes).items()}
        others = (_busy() - busy) / seconds - sum(cores.values())
        late_s = float(await asyncio.to_thread(producer.stdout.readline))
        await _until_quiet(seen)
        after = await asyncio.to_thread(_told, setting.admin)
    finally:
        reading.cancel()
        await consumer.stop()
    found = sorted(latency for sent, latency in seen if sent >= begin)
    told = {bound: count - before.get(bound, 0) for bound, count in after.items()}
    cuts = quantiles(found, n=100)
    return {
        "alerts": len(found),
        "p50": cuts[49],
        "p99": cuts[98],
        "max": found[-1],
        "told_p99": _bound(told, 0.99),
        "sent late": late_s,
        "cores": cores | {"others": others},
    }


async def _read(consumer: Any, seen: list[tuple[float, float]]) -> None:
    async for message in consumer:
        ((_, identity),) = message.headers  # topic-partition-offset-timestamp/name
        sent = int(identity.rpartition(b"/")[0].rpartition(b"-")[2]) / 1000
        seen.append((sent, time.time() - sent))


async def _until_quiet(seen: list[Any]) -> None:
    """Wait until nothing has come for three seconds."""
    count = -1
    while count != len(seen):
        count = len(seen)
        await asyncio.sleep(3)


def _told(admin: str) -> dict[float, float]:
    """Give the daemon's own histogram of messages to Kafka: how many took at most how long."""
    found: dict[float, float] = {}
    with urllib.request.urlopen(f"{admin}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name != "enricher_output_latency_seconds_bucket":
                continue
            if sample.labels["output"] and sample.labels["sink"] == "kafka":
                bound = float(sample.labels["le"])
                found[bound] = found.get(bound, 0) + sample.value
    return found


def _bound(counts: dict[float, float], share: float) -> float:
    """Give the bound of the bucket in which that share of all is reached."""
    total = max(counts.values())
    return min(bound for bound, count in counts.items() if count >= share * total)


def _is_ready(admin: str) -> bool:
    try:
        with urllib.request.urlopen(f"{admin}/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _used(processes: dict[str, Any]) -> dict[str, float]:
    """Give the seconds of CPU of each process, with those that it started (not the reader's)."""
    family = {name: [one, *one.children()] for name, one in processes.items() if name != "reader"}
    family["reader"] = [processes["reader"]]
    return {
        name: float(sum(sum(one.cpu_times()[:4]) for one in each)) for name, each in family.items()
    }


def _busy() -> float:
    """Give the seconds of CPU of the machine."""
    machine = psutil.cpu_times()
    return float(sum(machine) - machine.idle - machine.iowait)


def _python(arguments: list[str], **settings: Any) -> Any:
    return psutil.Popen([sys.executable, "-m", *arguments], **settings)


def main() -> None:
    """Print a line for each way: findings are indexed, or all payments, by one worker or two."""
    rate = int(sys.argv[1]) if len(sys.argv) > 1 else RATE
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    print(f"{rate:,} payments/s for {seconds} s after {WARM_S} s of warming up; seconds\n")
    heads = ("alerts", "p50", "p99", "max", "metric's p99", "sent late")
    print(f"{'':<26}" + "".join(f"{head:>13}" for head in heads))
    two = ("--workers", "2")
    for title, options, logs_above in (
        ("findings indexed", (), 30),
        ("all indexed", (), -1),
        ("all indexed, --workers 2", two, -1),
    ):
        found = run(rate, seconds, *options, logs_above=logs_above)
        figures = [f"{found['alerts']:>13,}"]
        figures += [f"{found[name]:>13.3f}" for name in ("p50", "p99", "max")]
        figures += [f"{'≤ ' + format(found['told_p99'], 'g'):>13}", f"{found['sent late']:>13.3f}"]
        print(f"{title:<26}" + "".join(figures))
        cores = [f"{name} {one:.2f}" for name, one in found["cores"].items()]
        print(f"{'':<26}  cores: {', '.join(cores)}", flush=True)


if __name__ == "__main__":
    main()
