"""Reload: the plan is swapped while the daemon runs, between two deliveries, or not at all."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from enricher.generator import GeneratedRecord
from enricher.model import Record
from tests.cli.program import Daemon
from tests.integration import ledger

TOPIC = "reload"
PARTITIONS = 4
INDICES = "reload-*"
PIPELINE = """\
name: reload
connections:
  kafka: {brokers: "${KAFKA_BROKERS}"}
  elasticsearch: {hosts: "${ELASTICSEARCH_URL}"}
sources:
  - kafka: {topics: [reload], group: reload}
stages:
  - json: {}
  - set: {fields: {plan: PLAN}}
  - translate: {field: kind, target: word, file: table.yaml}
routes:
  - elasticsearch: {index: reload-PLAN}
"""


def pipeline(plan: int) -> str:
    """Write the rules of a plan: each document says which made it, and lies in its index."""
    return PIPELINE.replace("PLAN", f"p{plan:02}")


class Rig(NamedTuple):
    """A daemon on a topic and a pipeline file of its own."""

    daemon: Daemon
    file: Path
    bootstrap: str
    elasticsearch: Any
    sent: list[Record]

    def send(self, count: int) -> None:
        first = len(self.sent)
        now = int(time.time() * 1000)
        self.sent.extend(
            asyncio.run(
                ledger.send(
                    self.bootstrap,
                    (
                        GeneratedRecord(TOPIC, None, orjson.dumps({"n": n, "kind": "k"}), now)
                        for n in range(first, first + count)
                    ),
                )
            )
        )

    def hang_up(self) -> None:
        self.daemon.process.send_signal(signal.SIGHUP)

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = [line for line in self.daemon.text.splitlines() if line.startswith("{")]
        return [line for line in map(orjson.loads, lines) if line.get("event") == event]

    def wait_for(self, event: str, count: int = 1, problem: str = "") -> None:
        end = time.monotonic() + 60
        while sum(problem in line.get("problem", "") for line in self.logged(event)) < count:
            assert self.daemon.process.poll() is None, self.daemon.text[-4000:]
            assert time.monotonic() < end, self.daemon.text[-4000:]
            time.sleep(0.02)

    def wait_for_documents(self) -> None:
        found = ledger.wait_for_count(self.elasticsearch, len(self.sent), indices=INDICES)
        assert found == len(self.sent), self.daemon.text[-4000:]

    def plans(self) -> list[list[str]]:
        """Give the plans that made the documents, by partition, in the order of offsets."""
        found = ledger.indexed(self.elasticsearch, INDICES)
        by_id = {name: (index, document) for (index, name), document in found.items()}
        assert len(found) == len(by_id) == len(self.sent)  # nothing lost, nothing twice
        partitions: dict[str, list[tuple[int, str]]] = {}
        for record in self.sent:
            index, document = by_id[record.id]
            assert index == f"reload-{document['plan']}"
            partitions.setdefault(record.stream, []).append((record.position, document["plan"]))
        return [[plan for _, plan in sorted(places)] for places in partitions.values()]


@pytest.fixture
def rig(kafka: Any, elasticsearch: Any, tmp_path: Path) -> Iterator[Rig]:
    """Start the daemon on plan 0, over 2,000 records that wait for it."""
    kafka.delete_topics(TOPIC)
    kafka.create_topics({TOPIC: PARTITIONS})
    ledger.clear(elasticsearch, INDICES)
    file = tmp_path / "p.yaml"
    file.write_text(pipeline(0))
    (tmp_path / "table.yaml").write_text("k: first\n")
    environment = {"KAFKA_BROKERS": kafka.bootstrap, "ELASTICSEARCH_URL": elasticsearch.url}
    with Daemon("run", "p.yaml", folder=tmp_path, environment=environment) as daemon:
        rig = Rig(daemon, file, kafka.bootstrap, elasticsearch, [])
        rig.send(2000)
        ledger.wait_for_count(elasticsearch, 1, indices=INDICES)
        yield rig


def test_swaps_under_load(rig: Rig) -> None:
    """Ten swaps: each record has one document, and no record is made by older rules than one before it."""
    done = threading.Event()

    def feed() -> None:
        while not done.is_set():
            rig.send(1000)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        for plan in range(1, 11):
            rig.file.write_text(pipeline(plan))
            rig.hang_up()
            rig.wait_for("reloaded", plan)
            reached = len(rig.sent)
            while len(rig.sent) == reached:
                time.sleep(0.05)
    finally:
        done.set()
        feeder.join()
    rig.wait_for_documents()
    rig.daemon.terminate()
    assert rig.daemon.wait() == 0, rig.daemon.text
    partitions = rig.plans()
    assert len(partitions) == PARTITIONS
    for plans in partitions:
        assert plans == sorted(plans)
    assert {plan for plans in partitions for plan in plans} >= {f"p{n:02}" for n in range(11)}
    assert len(rig.logged("reloaded")) == 10  # the watcher saw the same files, and left it there


def test_a_changed_file_is_noticed(rig: Rig) -> None:
    """The pipeline file replaced as editors do, and a table written in place: no signal needed."""
    rig.wait_for_documents()
    new = rig.file.with_suffix(".new")
    new.write_text(pipeline(1))
    rig.file.unlink()
    new.rename(rig.file)
    rig.wait_for("reloaded", 1)
    (rig.file.parent / "table.yaml").write_text("k: second\n")
    rig.wait_for("reloaded", 2)
    rig.send(100)
    rig.wait_for_documents()
    documents = ledger.indexed(rig.elasticsearch, "reload-p01").values()
    assert [document["word"] for document in documents] == ["second"] * 100
    assert {one["word"] for one in ledger.indexed(rig.elasticsearch, "reload-p00").values()} == {
        "first"
    }


KEPT = "not reloaded, the old plan goes on"
BAD = {
    "stages: [json: {}]": "p.yaml:1:1: missing field",
    pipeline(9).replace("translate:", "translat:"): "p.yaml:10:5: stages[2].translat: unknown stage",
    pipeline(9).replace("table.yaml", "gone.yaml"): "p.yaml:10:5: stages[2].translate: ",
    pipeline(9).replace("group: reload", "group: other"): "sources changed, which needs a restart",
    pipeline(9).replace("elasticsearch: {index: reload-p09}", "console: {}"): "routes: the sink console",
    pipeline(9).replace("  kafka: {brokers", "  redis: {url: 'redis://h:1'}\n  kafka: {brokers"): "connections changed",
}  # fmt: skip


def test_a_bad_file_keeps_the_old_plan(rig: Rig) -> None:
    """Every mistake is an error with its place; what comes meanwhile follows the old rules."""
    for text, told in [*BAD.items(), ("", "p.yaml: cannot be read")]:
        if text:
            rig.file.write_text(text)
        else:
            rig.file.unlink()
        rig.hang_up()
        rig.wait_for(KEPT, problem=told)
        rig.send(100)
    assert {line["level"] for line in rig.logged(KEPT)} == {"error"}
    rig.wait_for_documents()
    assert {plan for plans in rig.plans() for plan in plans} == {"p00"}
    rig.file.write_text(pipeline(1))
    rig.wait_for("reloaded", 1)
    rig.send(100)
    rig.wait_for_documents()
    assert {plan for plans in rig.plans() for plan in plans} == {"p00", "p01"}
    rig.daemon.terminate()
    assert rig.daemon.wait() == 0, rig.daemon.text


def test_templates_are_installed_before_the_swap(rig: Rig) -> None:
    """A new one is there for the index that it is meant for; one that is refused keeps the old plan."""
    rig.wait_for_documents()
    folder = rig.file.parent / "templates" / "elasticsearch" / "index_templates"
    folder.mkdir(parents=True)
    template: dict[str, Any] = {
        "version": 1,
        "index_patterns": ["reload-p01"],
        "template": {"mappings": {"properties": {"n": {"type": "keyword"}}}},
    }
    (folder / "reload.json").write_bytes(orjson.dumps(template))
    rig.file.write_text(pipeline(1) + "templates: templates\n")
    rig.wait_for("reloaded")
    rig.send(100)
    rig.wait_for_documents()
    mapping = rig.elasticsearch.request("GET", "/reload-p01/_mapping")[1]
    assert mapping["reload-p01"]["mappings"]["properties"]["n"] == {"type": "keyword"}
    template |= {"version": 2, "template": {"mappings": {"properties": {"n": {"type": "none"}}}}}
    (folder / "reload.json").write_bytes(orjson.dumps(template))
    rig.wait_for(KEPT, problem="does not take index_templates/reload.json: 400")
    assert len(rig.logged("reloaded")) == 1
    assert rig.elasticsearch.request("DELETE", "/_index_template/reload")[0] == 200


def test_sigterm_while_a_reload_waits(rig: Rig) -> None:
    """A swap that waits for a silent Elasticsearch does not hold up the end: the deadline counts."""
    rig.wait_for_documents()
    rig.elasticsearch.pause()
    rig.send(100)
    rig.file.write_text(pipeline(1))
    rig.hang_up()
    time.sleep(1)
    rig.daemon.terminate()
    time.sleep(0.5)
    rig.elasticsearch.resume()
    assert rig.daemon.wait() == 0, rig.daemon.text
    rig.wait_for_documents()
    rig.plans()
