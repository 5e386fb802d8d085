"""Nobody who is told of alerts answers, for minutes: the pipeline does not notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from enricher import document
from enricher.generator import generate
from tests.admin_client import get
from tests.alerts.black_hole import BlackHole
from tests.servers.process import DIE_WITH_PARENT

from . import results
from .checker import Verdict
from .scale import SCALE
from .world import PIPELINE, World

SHARED = {"ALERTMANAGER_URL": "http://{}", "SMTP_URL": "smtp://{}"}
"""Where alerts go."""


def into(hole: BlackHole) -> dict[str, str]:
    return {name: url.format(hole.address) for name, url in SHARED.items()}


def metrics(socket: Path) -> dict[str, float]:
    """Give the metrics of alerts, summed over their labels."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(get(socket, "/metrics")[1]):
        for sample in family.samples:
            name = sample.name.removeprefix("enricher_alert")
            if name != sample.name:
                found[name] = found.get(name, 0) + sample.value
    return found


def test_nothing_is_lost_and_nothing_grows(world: World) -> None:
    """Everything is settled meanwhile; what waits is a number and a few matches; SIGTERM ends it."""
    socket = world.folder / "admin"
    with BlackHole() as hole:
        world.environment |= into(hole)
        daemon = world.start("--admin", f"unix:{socket}")
        count = SCALE.black_hole_events
        world.ledger.send(count // 10, seed=SCALE.seed)
        world.until_settled()
        before = daemon.resident_bytes()
        world.ledger.send(count - count // 10, seed=SCALE.seed + 1, over_s=SCALE.black_hole_s)
        settled_s = world.until_settled()
        world.until(lambda: metrics(socket)["_blocked"] > 0, 60, "blocked")
        found, grown = metrics(socket), daemon.resident_bytes() - before
        assert hole.accepted > 0
        assert found["_told_total"] == 0
        assert found["_waiting"] + found["_suppressed_total"] >= count // 50
        assert grown < 64 << 20
        begin = time.monotonic()
        assert daemon.stop() == 0, world.logs
        ended_s = time.monotonic() - begin
    verdict = world.verdict()
    assert verdict.clean, f"{verdict}\n{world.logs}"
    results.note(
        f"Alertmanager and SMTP black-holed for {SCALE.black_hole_s:g} s",
        verdict,
        matches_waiting=int(found["_waiting"]),
        connections_tried=hole.accepted,
        MiB_grown=grown >> 20,
        s_until_all_was_settled=round(settled_s),
        s_to_exit=round(ended_s, 1),
    )


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Write events to a file."""
    file = tmp_path / "events.ndjson"
    with file.open("wb") as output:
        output.writelines(one.value + b"\n" for one in generate(SCALE.cost_events, days=2))
    return file


def test_throughput_beside_a_black_hole(events: Path, redis_url: str) -> None:
    """The shipped rules from a file to standard output, in turn with and without alerts' senders."""
    folder = events.parent
    shipped = document.read_file(PIPELINE).value
    del shipped["tests"], shipped["sources"]
    shipped["templates"] = str(PIPELINE.parents[1] / "templates")
    shipped["routes"] = [{"console": {}}]
    for name in ("kafka", "elasticsearch"):
        del shipped["connections"][name]
    (folder / "p.yaml").write_text(json.dumps(shipped))
    plain = {**os.environ, "REDIS_URL": redis_url} | dict.fromkeys(SHARED, "")
    runs: dict[bool, list[Cost]] = {True: [], False: []}
    with BlackHole() as hole:
        for number in range(SCALE.cost_rounds):
            for is_on in (number % 2 == 1, number % 2 == 0):
                environment = plain | (into(hole) if is_on else {})
                runs[is_on].append(cost(folder, events, environment))
        assert hole.accepted >= SCALE.cost_rounds
    # The best of each: others use this machine, too, and what they take is no cost of ours.
    rate, off_rate = (max(one.rate for one in runs[is_on]) for is_on in (True, False))
    cpu_us, off_cpu_us = (min(one.cpu_us for one in runs[is_on]) for is_on in (True, False))
    assert rate > 0.2 * off_rate, runs  # a stall, not a measurement: the figures are for the table
    results.note(
        "Throughput beside a black hole, file to standard output",
        Verdict(sent=SCALE.cost_events, indexed=SCALE.cost_events),
        runs_of_each=SCALE.cost_rounds,
        events_per_s_without=round(off_rate),
        events_per_s_with=round(rate),
        µs_of_CPU_without=round(off_cpu_us, 2),
        µs_of_CPU_with=round(cpu_us, 2),
    )


class Cost(NamedTuple):
    """Of one run, from a third of its documents to the last: a start is no matter of minutes."""

    rate: float
    """Events a second."""
    cpu_us: float
    """Of one event."""


def cost(folder: Path, events: Path, environment: dict[str, str]) -> Cost:
    """Run the pipeline over the events, and measure."""
    command = [sys.executable, "-m", "enricher", "run", "p.yaml", str(events)]
    if sys.platform == "linux":
        command = [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, *command]
    with (
        (folder / "log").open("ab") as log,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        assert process.stdout is not None
        seen = 0
        marks = []
        for wanted in (SCALE.cost_events // 3, SCALE.cost_events):
            while seen < wanted:
                chunk = os.read(process.stdout.fileno(), 1 << 20)
                assert chunk, (folder / "log").read_text()[-2000:]
                seen += chunk.count(b"\n")
            cpu_s = sum(psutil.Process(process.pid).cpu_times()[:2])
            marks.append((seen, time.monotonic(), cpu_s))
        process.stdout.read()
        assert process.wait(60) == 0
    count, seconds, cpu_s = (after - before for before, after in zip(*marks, strict=True))
    return Cost(count / seconds, cpu_s / count * 1e6)
