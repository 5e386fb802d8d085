"""A scrape says what the run has counted, in names that Prometheus' users expect."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from enricher import __version__, metrics, readings
from enricher.beats import server as beats
from enricher.geoip.reader import Reader
from enricher.health import Health
from enricher.histogram import Histogram
from enricher.kafka.assignment import Counts
from enricher.model import Alert, DeadLetter, Document, Dropped, Progress, Record
from enricher.sources.inbox import weight
from enricher.tally import FAMILIES, Tally, family_of

from .geoip.mmdb import DATA, country, write
from .http.rig import NDJSON, ndjson, serving
from .stages.running import plan_of
from .tail.rig import following
from .test_runtime import Run

Numbers = dict[tuple[str, tuple[str, ...]], float]
RECORD = Record(b"{}", "r", 0, "t/0", 0)


def scrape(health: Health) -> Numbers:
    """Give every sample by its name and the values of its labels, in the order of their names."""
    text = metrics.exposition(metrics.registry_of(health)).decode()
    return {
        (sample.name, tuple(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(run: Run) -> Health:
    return Health(run.runtime, run.stopping)


async def test_a_scrape_equals_the_tallies_of_the_run() -> None:
    """Documents by family, dead letters by stage and error, what was dropped, alerts, costs."""
    run = Run(
        ["a logs-2025.10.20", "a logs-2025.10.21", "b plain Huge Huge", "dead", "drop", "a x"],
        ["b plain Small"],
    )
    run.a.refused = {"source0-5"}
    assert await run.to_the_end() is True
    found = scrape(of(run))
    assert {key: value for key, value in found.items() if key[0].endswith("_total")} == {
        ("enricher_records_read_total", ()): 7,
        ("enricher_records_settled_total", ()): 7,
        ("enricher_documents_total", ("logs-*",)): 2,
        ("enricher_documents_total", ("plain",)): 2,
        ("enricher_dead_letters_total", ("Bad", "stage")): 1,
        ("enricher_dead_letters_total", ("mapper", "a")): 1,
        ("enricher_dropped_total", ("drop",)): 1,
        ("enricher_alerts_total", ("Huge",)): 2,
        ("enricher_alerts_total", ("Small",)): 1,
        ("enricher_stage_cost_seconds_total", ("only",)): pytest.approx(6e-9),
        ("enricher_stage_cost_records_total", ("only",)): 6,
        ("enricher_reloads_total", ("ok",)): 0,
        ("enricher_reloads_total", ("failed",)): 0,
        ("process_cpu_seconds_total", ()): found["process_cpu_seconds_total", ()],
    }
    assert found["enricher_bytes_in_flight", ()] == 0
    assert found["enricher_deliveries_in_flight", ()] == 0
    assert found["process_resident_memory_bytes", ()] > 1 << 20


async def test_what_is_in_flight_is_seen_while_it_is() -> None:
    """Read and not settled: counted as read, held in bytes, owed."""
    run = Run(["a", "a"], budget=4096, endless=True)
    run.a.answering.clear()
    task = run.start()
    while not run.source.yielded or not run.budget.used:
        await asyncio.sleep(0)
    found = scrape(of(run))
    assert found["enricher_records_read_total", ()] == 2
    assert found["enricher_records_settled_total", ()] == 0
    assert found["enricher_deliveries_in_flight", ()] == 1
    assert found["enricher_bytes_in_flight", ()] == run.budget.used > 0
    assert found["enricher_bytes_in_flight_limit", ()] == 4096
    assert found["enricher_ready", ()] == 1
    run.a.answering.set()
    run.stopping.set()
    assert await task is True
    found = scrape(of(run))
    assert found["enricher_records_settled_total", ()] == 2
    assert found["enricher_ready", ()] == 0


def test_sinks_sources_and_reloads_are_read_from_their_counters() -> None:
    run = Run()
    sink: Any = run.a
    sink.retries, sink.conflicts, sink.superseded = 3, 2, 1
    sink.latency = Histogram()
    for seconds in (0.005, 0.2, 100.0):
        sink.latency.observe(seconds)
    source: Any = run.source
    source.counts = Counts(commits=9, failed_commits=4, out_of_range=1)
    source.progress = lambda: [
        Progress("t", 0, 120, 30, 1.5),
        Progress("t", 1, None, None, 0.0),
    ]
    reloads = run.runtime.reloads
    reloads.ok, reloads.failed, reloads.last_time = 5, 2, 1_700_000_000.5
    run.runtime.pipeline, run.runtime.digest = "payments", "abc"
    found = scrape(of(run))
    expected: dict[tuple[str, tuple[str, ...]], Any] = {
        ("enricher_build_info", ("abc", "payments", __version__)): 1,
        ("enricher_sink_retries_total", ("a",)): 3,
        ("enricher_sink_conflicts_total", ("a",)): 2,
        ("enricher_sink_superseded_total", ("a",)): 1,
        ("enricher_sink_request_duration_seconds_bucket", ("0.005", "a")): 1,
        ("enricher_sink_request_duration_seconds_bucket", ("0.25", "a")): 2,
        ("enricher_sink_request_duration_seconds_bucket", ("60.0", "a")): 2,
        ("enricher_sink_request_duration_seconds_bucket", ("+Inf", "a")): 3,
        ("enricher_sink_request_duration_seconds_count", ("a",)): 3,
        ("enricher_sink_request_duration_seconds_sum", ("a",)): pytest.approx(100.205),
        ("enricher_kafka_commits_total", ("source",)): 9,
        ("enricher_kafka_commit_failures_total", ("source",)): 4,
        ("enricher_kafka_out_of_range_total", ("source",)): 1,
        ("enricher_kafka_assigned_partitions", ("source",)): 2,
        ("enricher_kafka_lag_records", ("0", "source", "t")): 30,
        ("enricher_kafka_watermark_offset", ("0", "source", "t")): 120,
        ("enricher_kafka_watermark_age_seconds", ("0", "source", "t")): 1.5,
        ("enricher_kafka_watermark_age_seconds", ("1", "source", "t")): 0,
        ("enricher_reloads_total", ("ok",)): 5,
        ("enricher_reloads_total", ("failed",)): 2,
        ("enricher_last_reload_timestamp_seconds", ()): 1_700_000_000.5,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert ("enricher_kafka_lag_records", ("1", "source", "t")) not in found
    assert ("enricher_sink_retries_total", ("b",)) not in found  # it counts none


def test_a_source_that_is_sent_to_tells_of_its_senders() -> None:
    run = Run()
    source: Any = run.source
    source.counts = beats.Counts(
        connections=2, accepted=9, windows=5, received_records=40, acks=4, keepalives=3,
        received_bytes=700, held_bytes=60, open_without_tls=1, refused={"slow": 2, "tls": 1},
    )  # fmt: skip
    found = scrape(of(run))
    assert {key: value for key, value in found.items() if "source" in key[1]} == {
        ("enricher_source_blocked", ("source",)): 0,
        ("enricher_source_connections", ("source",)): 2,
        ("enricher_source_accepted_total", ("source",)): 9,
        ("enricher_source_received_records_total", ("source",)): 40,
        ("enricher_source_received_bytes_total", ("source",)): 700,
        ("enricher_source_held_bytes", ("source",)): 60,
        ("enricher_source_open_without_tls", ("source",)): 1,
        ("enricher_source_refused_total", ("slow", "source")): 2,
        ("enricher_source_refused_total", ("tls", "source")): 1,
        ("enricher_beats_windows_total", ("source",)): 5,
        ("enricher_beats_acks_total", ("source",)): 4,
        ("enricher_beats_keepalives_total", ("source",)): 3,
    }


def test_labels_have_few_values_however_many_indices_and_errors_there_are() -> None:
    """What goes beyond is counted as `other`, and nothing is counted twice or left out."""
    run = Run()
    for number in range(3 * FAMILIES):
        index = "many" + "x" * number
        run.runtime.tally.add([Document(RECORD, "a", index, "i", None, b"{}")])
        run.runtime.tally.add([DeadLetter(RECORD, "stage", f"Error{number}", "because")])
    run.runtime.tally.add([Dropped(RECORD, "drop")])
    found = scrape(of(run))
    for name, limit in (
        ("enricher_documents_total", FAMILIES),
        ("enricher_dead_letters_total", readings.ERRORS),
    ):
        counted = [value for key, value in found.items() if key[0] == name]
        assert len(counted) == limit + 1
        assert sum(counted) == 3 * FAMILIES


@pytest.mark.parametrize(
    ("index", "family"),
    [
        ("payment-logs-2025.10.20", "payment-logs-*"),
        ("payment-logs-2025-10-20", "payment-logs-*"),
        ("payment.logs.2025", "payment.logs.*"),
        ("logs_20251020", "logs_*"),
        ("logs-2025.10.20-13", "logs-*"),
        ("payment-logs-outofrange", "payment-logs-outofrange"),
        ("logs-v2", "logs-v2"),
        ("logs", "logs"),
        ("2025.10.20", "2025.*"),
    ],
)
def test_a_family_is_the_index_without_its_date(index: str, family: str) -> None:
    assert family_of(index) == family


def test_a_tally_gives_documents_by_family() -> None:
    tally = Tally()
    tally.documents = Counter({"a-2025.10.20": 2, "b": 1, "a-2025.10.21": 3})
    assert tally.families() == {"a-*": 5, "b": 1}


async def test_alerts_with_hostile_names_do_not_break_the_format() -> None:
    run = Run()
    alert = Alert('a"b\\c\nd', "")
    run.runtime.tally.add([Document(RECORD, "a", "i", "i", None, b"{}", (alert,))])
    assert scrape(of(run))["enricher_alerts_total", ('a"b\\c\nd',)] == 1


def test_names_are_conventional_and_documented() -> None:
    """Counters end in `_total`, units are seconds, bytes or a count; every metric has its line."""
    page = Path("docs/metrics.md").read_text(encoding="utf-8")
    names = [family.name for family in metrics.FAMILIES]
    assert len(set(names)) == len(names)
    for family in metrics.FAMILIES:
        assert re.fullmatch(r"enricher_[a-z_]+", family.name)
        assert (family.kind == "counter") == family.name.endswith("_total")
        assert family.help.endswith(".")
        assert f"| `{family.name}` | {family.kind} |" in page


async def test_the_age_of_a_geoip_database_is_offered(tmp_path: Path) -> None:
    """By file and type, of those that the plan of now asks; each once."""
    asn = DATA / "GeoLite2-ASN-Test.mmdb"
    city = write(tmp_path / "city.mmdb", {"1.0.0.0/8": country("Nepal")}, kind="Test-City")
    run = Run()
    run.runtime.plan = plan_of(
        f"geoip: {{field: a, database: {city}, country: c}}",
        f"geoip: {{field: b, database: {city}, country: d}}",
        f"geoip: {{field: b, database: {asn}, asn: e}}",
    )
    found = {
        labels: value
        for (name, labels), value in scrape(of(run)).items()
        if name == "enricher_geoip_build_timestamp_seconds"
    }
    assert set(found) == {(str(city), "Test-City"), (str(asn), "GeoLite2-ASN")}
    assert time.time() - found[str(city), "Test-City"] < 1000
    assert found[str(asn), "GeoLite2-ASN"] == Reader(asn.read_bytes()).metadata.built_at


async def test_a_source_that_listens_is_scraped() -> None:
    """Its answers by status, what it was sent, and what it holds."""
    run = Run([])
    async with serving(settles=False, max_held_bytes=2048) as rig:
        run.runtime.sources = [rig.source]
        body = ndjson(4)
        waiting = asyncio.create_task(rig.post(body, NDJSON))
        await rig.until(4)
        assert (await rig.post(ndjson(4), NDJSON)).status_code == 429
        assert (await rig.post(b"[")).status_code == 400
        found = scrape(of(run))
        assert found["enricher_source_held_bytes", ("http",)] == weight(rig.taken)
        assert found["enricher_source_connections", ("http",)] >= 1
        assert found["enricher_source_blocked", ("http",)] == 0
        await rig.settle()
        await waiting
        found = scrape(of(run))
    assert found["enricher_source_received_records_total", ("http",)] == 4
    assert found["enricher_source_received_bytes_total", ("http",)] == 2 * len(body) + 1
    assert found["enricher_source_held_bytes", ("http",)] == 0
    assert {k[1]: v for k, v in found.items() if k[0] == "enricher_http_requests_total"} == {
        ("http", "200"): 1,
        ("http", "400"): 1,
        ("http", "429"): 1,
    }
    assert of(run).status()["sources"]["http"]["requests"] == {"200": 1, "400": 1, "429": 1}
    assert of(run).reasons() == ["http: does not listen"]


async def test_followed_files_are_scraped(tmp_path: Path) -> None:
    """How far each is behind, and what can be read."""
    (tmp_path / "a.log").write_bytes(b"one\ntw")
    (tmp_path / "b.log").write_bytes(b"three\n")
    run = Run([])
    async with following(tmp_path, settles=False) as found:
        run.runtime.sources = [found.source]
        await found.until(lambda: len(found.values) == 2)
        numbers = scrape(of(run))
        assert numbers["enricher_file_lag_bytes", (f"{tmp_path}/a.log", "file")] == 6
        assert numbers["enricher_file_lag_bytes", (f"{tmp_path}/b.log", "file")] == 6
        await found.deliveries[0].acknowledge()
        numbers = scrape(of(run))
        assert numbers["enricher_file_lag_bytes", (f"{tmp_path}/a.log", "file")] == 2
        assert numbers["enricher_file_lag_bytes", (f"{tmp_path}/b.log", "file")] == 0
    assert numbers["enricher_file_followed", ("file",)] == 2
    assert numbers["enricher_file_open", ("file",)] == 2
    for name in ("unreadable", "truncated_total", "vanished_total"):
        assert numbers[f"enricher_file_{name}", ("file",)] == 0
    assert of(run).status()["sources"]["file"]["followed"] == 2
