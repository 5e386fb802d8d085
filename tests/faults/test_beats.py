"""A daemon that Beats send to is killed again and again: what it acknowledged is there, all the same."""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from enricher import document
from enricher.generator import generate
from tests.beats import wire
from tests.integration import ledger as indices
from tests.servers.elasticsearch import Elasticsearch
from tests.servers.process import free_ports

from . import results
from .checker import Verdict
from .daemon import Daemon
from .ledger import SEQUENCE, unwrapped
from .scale import SCALE
from .world import PIPELINE

EVENTS = 100
"""Of a batch."""
AHEAD = 3
"""Batches that a sender sends before the first of them is acknowledged, as Filebeat may."""
PATIENCE_S = 120


class Sender(threading.Thread):
    """Sends batches as a Beat does: what is not acknowledged is sent again, for ever.

    Args:
        port: Of the daemon, whichever it is.
        batches: Each with its events.
    """

    def __init__(self, port: int, batches: list[list[dict[str, Any]]]) -> None:
        super().__init__()
        self.acknowledged = 0
        self.sent_again = 0
        self._port = port
        self._waiting = deque(batches)
        self._stopping = threading.Event()

    def run(self) -> None:
        while self._waiting and not self._stopping.is_set():
            try:
                with wire.Client(self._port) as client:
                    self._send(client)
            except OSError:
                time.sleep(0.05)  # the daemon is being started again

    def _send(self, client: wire.Client) -> None:
        under_way = 0
        try:
            while self._waiting:
                for batch in itertools.islice(self._waiting, under_way, AHEAD):
                    client.send(wire.batch(batch, compress=self.acknowledged % 2 == 0))
                    under_way += 1
                acknowledged = client.ack()
                if acknowledged is None:
                    return
                if acknowledged == EVENTS:
                    self._waiting.popleft()
                    self.acknowledged += 1
                    under_way -= 1
        finally:
            self.sent_again += under_way

    def stop(self) -> None:
        """Give up, where a test has failed."""
        self._stopping.set()
        self.join()


def lines(count: int, *, with_ids: bool, first: int) -> Iterator[dict[str, Any]]:
    """Make events as Filebeat sends them: a line of ours, with its place in a file."""
    now = datetime.now(UTC).isoformat()
    for number, record in enumerate(generate(count, seed=SCALE.seed + first), first):
        event = unwrapped(orjson.loads(record.value)) | {SEQUENCE: number, "timestamp": now}
        identity = {"_id": f"web-1-{number}"} if with_ids else {}
        yield {
            "@timestamp": now,
            "@metadata": {"beat": "filebeat", "type": "_doc", "version": "8.19.0", **identity},
            "message": orjson.dumps(event).decode(),
            "log": {"offset": number, "file": {"path": "/var/log/payments.log"}},
            "host": {"name": "web-1"},
        }


def write_pipeline(folder: Path) -> Path:
    """Write the shipped pipeline, but that no route names ids of its own."""
    shipped = document.read_file(PIPELINE).value
    del shipped["tests"]
    shipped["templates"] = str(PIPELINE.parents[1] / "templates")
    for route in shipped["routes"]:
        route["elasticsearch"].pop("id", None)
    file = folder / "pipeline.yaml"
    file.write_text(json.dumps(shipped))
    return file


class Daemons:
    """One daemon after the other, each at the port of the last."""

    def __init__(self, folder: Path, elasticsearch: Elasticsearch, redis_url: str) -> None:
        (self.port,) = free_ports(1)
        self._folder = folder
        self._pipeline = write_pipeline(folder)
        self._environment = {
            "BEATS_LISTEN": f"127.0.0.1:{self.port}",
            "ELASTICSEARCH_URL": elasticsearch.url,
            "ELASTICSEARCH_REPLICAS": "0",
            "ELASTICSEARCH_SHARDS": "1",
            "REDIS_URL": redis_url,
            "ENRICHER_ADMIN": "off",
        }
        self._number = 0
        self.running = self.start()

    def start(self) -> Daemon:
        letters = str(self._folder / "dead-letters.ndjson")
        log = self._folder / f"daemon-{self._number}.log"
        self._number += 1
        options = ("--source", "beats", "--dead-letters", letters)
        self.running = Daemon(self._pipeline, self._environment, log, *options)
        return self.running

    def kill(self) -> None:
        assert self.running.is_running, self.running.log.read_text()[-2000:]
        self.running.kill()
        self.start()


def test_a_daemon_that_beats_send_to_is_killed(
    elasticsearch: Elasticsearch, redis_url: str, tmp_path: Path
) -> None:
    """kill -9 in the middle of batches. By ids nothing is lost and nothing twice; without, nothing lost."""
    indices.clear(elasticsearch)
    batches, kills = SCALE.beats_batches, SCALE.beats_kills
    named = list(lines(batches // 4 * 3 * EVENTS, with_ids=True, first=0))
    nameless = list(lines(batches // 4 * EVENTS, with_ids=False, first=len(named)))
    parts = [
        [events[at : at + EVENTS] for at in range(begin, len(events), step)]
        for events, begin, step in (
            (named, 0, 2 * EVENTS),
            (named, EVENTS, 2 * EVENTS),
            (nameless, 0, EVENTS),
        )
    ]
    daemons = Daemons(tmp_path, elasticsearch, redis_url)
    senders = [Sender(daemons.port, part) for part in parts]
    for sender in senders:
        sender.start()
    try:
        for kill in range(1, kills + 1):
            wait_for(senders, kill * batches // (kills + 1), daemons)
            daemons.kill()
        wait_for(senders, batches, daemons)
    finally:
        for sender in senders:
            sender.stop()
        if daemons.running.is_running:
            daemons.running.signal(signal.SIGTERM)
    assert daemons.running.process.wait(60) == 0
    verdict, again = compared(elasticsearch, len(named), len(nameless))
    assert verdict.clean, verdict
    assert sum(sender.sent_again for sender in senders) >= kills
    results.note(
        f"kill -9 of a daemon that Beats send {batches:,} batches to, {kills} times",
        verdict,
        kills=kills,
        batches_sent_again=sum(sender.sent_again for sender in senders),
        events_without_an_id_that_are_there_again=again,
    )


def wait_for(senders: list[Sender], acknowledged: int, daemons: Daemons) -> None:
    """Wait until so many batches are acknowledged."""
    end = time.monotonic() + PATIENCE_S
    while sum(sender.acknowledged for sender in senders) < acknowledged:
        assert time.monotonic() < end, daemons.running.log.read_text()[-2000:]
        time.sleep(0.005)  # between two looks


def compared(elasticsearch: Elasticsearch, named: int, nameless: int) -> tuple[Verdict, int]:
    """Hold what was sent against what is there; give also how many nameless ones are there again."""
    found = indices.indexed(elasticsearch)
    verdict = Verdict(sent=named + nameless, indexed=len(found))
    times = Counter(fields[SEQUENCE] for fields in found.values())
    for number in range(named + nameless):
        if not times[number]:
            verdict.lost.append(str(number))
        elif number < named and times[number] > 1:
            verdict.twice.append(str(number))
    for (_, identity), fields in found.items():
        number = fields[SEQUENCE]
        if number < named and identity != f"beats@web-1-{number}":
            verdict.unknown.append(identity)
        if fields["log"]["offset"] != number or fields["host"] != {"name": "web-1"}:
            verdict.altered.append(identity)
    return verdict, len(found) - verdict.sent
