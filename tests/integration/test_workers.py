"""`--workers`: killed, restarted and stopped, they lose nothing and index nothing twice."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import orjson
import psutil
import pytest

from enricher.generator import GeneratedRecord
from enricher.model import Record
from tests.cli.program import Daemon
from tests.integration import ledger
from tests.servers.process import free_ports

TOPIC = "workers"
INDICES = "workers-*"
PIPELINE = """\
name: workers
connections:
  kafka: {brokers: "${KAFKA_BROKERS}"}
  elasticsearch: {hosts: "${ELASTICSEARCH_URL}"}
sources:
  - kafka: {topics: [workers], group: workers, group_instance_id: w}
stages:
  - json: {}
  - set: {fields: {plan: first}}
routes:
  - elasticsearch: {index: workers-all}
"""


class Rig(NamedTuple):
    """A supervisor of two workers, over a topic of its own."""

    daemon: Daemon
    folder: Path
    url: str
    bootstrap: str
    elasticsearch: Any
    sent: list[Record]

    def send(self, count: int) -> None:
        first, now = len(self.sent), int(time.time() * 1000)
        records = (
            GeneratedRecord(TOPIC, None, orjson.dumps({"n": n}), now)
            for n in range(first, first + count)
        )
        self.sent.extend(asyncio.run(ledger.send(self.bootstrap, records)))

    def workers(self) -> list[psutil.Process]:
        return [p for p in psutil.Process(self.daemon.process.pid).children() if p.is_running()]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=10)

    def wait_until_ready(self, timeout_s: float = 60) -> None:
        end = time.monotonic() + timeout_s
        while True:
            try:
                answer = self.get("/health/ready")
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 200:
                return
            assert self.daemon.process.poll() is None, self.daemon.text
            assert time.monotonic() < end, (answer and answer.text, self.daemon.text)
            time.sleep(0.1)

    def wait_for_documents(self, count: int) -> None:
        found = ledger.wait_for_count(self.elasticsearch, count, indices=INDICES)
        assert found >= count, self.daemon.text[-4000:]

    def settled(self) -> list[int]:
        """Give what each process that has ended says that it has settled."""
        lines = self.daemon.text.splitlines()
        return [orjson.loads(line)["records"] for line in lines if line.startswith('{"records"')]

    def verify(self) -> None:
        """Each record is there, once, as its own document."""
        self.wait_for_documents(len(self.sent))
        found = ledger.indexed(self.elasticsearch, INDICES)
        numbers = {name: document["n"] for (_, name), document in found.items()}
        assert len(found) == len(numbers)
        assert numbers == {record.id: orjson.loads(record.value)["n"] for record in self.sent}


@pytest.fixture
def rig(kafka: Any, elasticsearch: Any, tmp_path: Path) -> Iterator[Rig]:
    """Start the supervisor over 2,000 records; whatever happens, end it and its workers."""
    kafka.delete_topics(TOPIC)
    kafka.create_topics({TOPIC: 4})
    ledger.clear(elasticsearch, INDICES)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    environment = {"KAFKA_BROKERS": kafka.bootstrap, "ELASTICSEARCH_URL": elasticsearch.url}
    arguments = ("run", "p.yaml", "--workers", 2, "--admin", address, "--budget-mib", 2)
    with Daemon(*arguments, folder=tmp_path, environment=environment) as daemon:
        rig = Rig(daemon, tmp_path, f"http://{address}", kafka.bootstrap, elasticsearch, [])
        rig.send(2000)
        rig.wait_until_ready()
        known = rig.workers()
        try:
            yield rig
        finally:
            known += rig.workers() if daemon.process.poll() is None else []
            for worker in known:
                if worker.is_running():
                    worker.kill()


def test_killed_workers_are_started_again_and_nothing_is_lost(rig: Rig) -> None:
    """`kill -9` of one of two workers four times under load; static members have ids of their own."""
    chance = random.Random(4)
    for _ in range(4):
        rig.send(3000)
        victim = chance.choice(rig.workers())
        victim.kill()
        rig.wait_until_ready()
    rig.send(3000)
    rig.verify()
    text = rig.get("/metrics").text
    restarts = [f'enricher_worker_restarts_total{{worker="{n}"}} ' for n in (1, 2)]
    counts = [float(text.partition(start)[2].splitlines()[0]) for start in restarts]
    assert sum(counts) == 4, text
    assert all(f'enricher_ready{{worker="{n}"}} 1.0' in text for n in (1, 2))
    rig.daemon.terminate()
    assert rig.daemon.wait() == 0, rig.daemon.text


def test_workers_end_when_the_supervisor_is_killed(rig: Rig) -> None:
    """By themselves, after a drain and a commit: a second daemon reads only what came later."""
    workers = rig.workers()
    assert len(workers) == 2
    rig.wait_for_documents(2000)
    rig.daemon.process.kill()
    rig.daemon.wait()
    assert not psutil.wait_procs(workers, timeout=30)[1], rig.daemon.text
    assert rig.daemon.text.count("the supervisor is gone") == 2
    assert sum(rig.settled()) == 2000
    rig.verify()


def test_sigterm_ends_all_in_order_under_load(rig: Rig) -> None:
    """Exit code 0, nobody is left, all that was read is committed: a restart reads the rest alone."""
    workers = rig.workers()
    feeder = threading.Thread(target=rig.send, args=(30_000,))
    feeder.start()
    rig.wait_for_documents(4000)
    rig.daemon.terminate()
    assert rig.daemon.wait() == 0, rig.daemon.text
    feeder.join()
    assert not any(worker.is_running() for worker in workers)
    settled = sum(rig.settled())
    assert settled == ledger.count(rig.elasticsearch, INDICES)
    assert 4000 <= settled < len(rig.sent)
    environment = {"KAFKA_BROKERS": rig.bootstrap, "ELASTICSEARCH_URL": rig.elasticsearch.url}
    second = ("run", "p.yaml", "--format", "json")
    with Daemon(*second, folder=rig.folder, environment=environment) as daemon:
        daemon.wait_for('"partitions assigned"')
        rig.wait_for_documents(len(rig.sent))
        daemon.terminate()
        assert daemon.wait() == 0, daemon.text
    assert rig.settled() == [len(rig.sent) - settled]  # its log is in the place of the first
    rig.verify()


def test_a_second_sigterm_kills(rig: Rig) -> None:
    """While Elasticsearch is silent; exit code 1 at once, and nobody is left."""
    workers = rig.workers()
    rig.wait_for_documents(2000)
    rig.elasticsearch.pause()
    rig.send(500)
    time.sleep(0.5)
    rig.daemon.terminate()
    time.sleep(1)  # two signals that are sent together may arrive as one
    assert rig.daemon.process.poll() is None
    rig.daemon.terminate()
    assert rig.daemon.wait(8) == 1
    assert rig.daemon.text.count("worker killed") == 2
    assert not psutil.wait_procs(workers, timeout=5)[1]


def test_a_worker_that_hangs_does_not_hide_the_other(rig: Rig) -> None:
    """Stopped by SIGSTOP: not ready with the reason, its numbers missing, the other's there."""
    first, second = sorted(rig.workers(), key=lambda worker: worker.pid)
    first.suspend()
    try:
        answer = rig.get("/health/ready")
        assert answer.status_code == 503
        assert answer.json()["reasons"] == ["worker 1: does not answer"]
        text = rig.get("/metrics").text
        assert 'enricher_worker_up{worker="1"} 0.0' in text
        assert 'enricher_ready{worker="2"} 1.0' in text
        assert 'enricher_ready{worker="1"}' not in text
        status = rig.get("/status").json()["workers"]
        assert [(one["worker"], one["pid"], one["answers"]) for one in status] == [
            (1, first.pid, False),
            (2, second.pid, True),
        ]
        assert rig.get("/health/live").status_code == 200
    finally:
        first.resume()
    rig.wait_until_ready()


def test_sighup_reloads_every_worker(rig: Rig) -> None:
    """The supervisor passes it on; the documents of all partitions follow the new rules."""
    rig.wait_for_documents(2000)
    (rig.folder / "p.yaml").write_text(PIPELINE.replace("plan: first", "plan: second"))
    rig.daemon.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 30
    while rig.daemon.text.count('"reloaded"') < 2:
        assert time.monotonic() < end, rig.daemon.text
        time.sleep(0.05)
    rig.send(400)
    rig.verify()
    found = ledger.indexed(rig.elasticsearch, INDICES).values()
    plans = [document["plan"] for document in sorted(found, key=lambda one: int(one["n"]))]
    assert plans == ["first"] * 2000 + ["second"] * 400
