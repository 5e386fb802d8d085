"""What `/metrics` offers, as one table: names, meanings, and where each number is read.

Nothing is counted for Prometheus' sake; a scrape reads the counters that the run keeps anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from enricher import __version__
from enricher.health import Health, counts, progress
from enricher.histogram import Histogram
from enricher.model import Progress

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ERRORS = 200
"""Stages and errors of dead letters that are told apart, at most."""

Value = float | Histogram
Samples = Iterable[tuple[tuple[str, ...], Value]]
"""Values of the labels, and the number."""


class Family(NamedTuple):
    """One metric: what it is called, what it means, and how it is read."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    read: Callable[[Health], Samples]


def _one(read: Callable[[Health], float]) -> Callable[[Health], Samples]:
    return lambda health: [((), read(health))]


def _each(read: Callable[[Health], dict[str, int]]) -> Callable[[Health], Samples]:
    return lambda health: [((name,), count) for name, count in read(health).items()]


def _of_sinks(name: str) -> Callable[[Health], Samples]:
    """Read a counter or histogram of every sink that has it."""
    return lambda health: [
        ((sink,), getattr(output, name))
        for sink, output in health.outputs.items()
        if hasattr(output, name)
    ]


def _of_sources(name: str) -> Callable[[Health], Samples]:
    return lambda health: [
        ((source.name,), kept[name])
        for source in health.runtime.sources
        if name in (kept := counts(source))
    ]


def _requests(health: Health) -> Samples:
    return [
        ((source.name, status), number)
        for source in health.runtime.sources
        for status, number in counts(source).get("requests", {}).items()
    ]


def _by_partition(read: Callable[[Progress], float | None]) -> Callable[[Health], Samples]:
    def samples(health: Health) -> Iterator[tuple[tuple[str, ...], Value]]:
        for source in health.runtime.sources:
            for one in progress(source):
                value = read(one)
                if value is not None:
                    yield (source.name, one.topic, str(one.partition)), value

    return samples


def _dead_letters(health: Health) -> Samples:
    found: dict[tuple[str, ...], int] = {}
    for key, count in health.runtime.tally.dead_letters.items():
        stage, _, error = key.rpartition(": ")
        labels = (stage, error)
        if labels not in found and len(found) >= ERRORS:
            labels = ("other", "other")
        found[labels] = found.get(labels, 0) + count
    return found.items()


def _cost(health: Health) -> Samples:
    return [((name,), ns / 1e9) for name, ns in health.runtime.tally.cost_ns.items()]


def _sampled(health: Health) -> Samples:
    tally = health.runtime.tally
    return [((name,), tally.sampled) for name in tally.cost_ns]


def _partitions(health: Health) -> Samples:
    return [
        ((source.name,), len(progress(source)))
        for source in health.runtime.sources
        if hasattr(source, "progress")
    ]


def _reloads(health: Health) -> Samples:
    reloads = health.runtime.reloads
    return [(("ok",), reloads.ok), (("failed",), reloads.failed)]


def _last_reload(health: Health) -> Samples:
    at = health.runtime.reloads.last_time
    return [] if at is None else [((), at)]


def _build(health: Health) -> Samples:
    return [((__version__, health.runtime.pipeline, health.runtime.digest), 1)]


_TP = ("source", "topic", "partition")

FAMILIES: tuple[Family, ...] = (
    Family("enricher_build_info", "gauge", ("version", "pipeline", "digest"),
           "Always 1; what runs here. The digest is the pipeline file's.", _build),
    Family("enricher_ready", "gauge", (),
           "1 while records can flow, 0 while not; /health/ready says why.",
           _one(lambda h: not h.reasons())),
    Family("enricher_records_read_total", "counter", (),
           "Records taken from the sources.", _one(lambda h: h.runtime.tally.read)),
    Family("enricher_records_settled_total", "counter", (),
           "Records indexed, dropped or dead letters, and acknowledged to their source.",
           _one(lambda h: h.runtime.tally.records)),
    Family("enricher_documents_total", "counter", ("index",),
           "Documents written; the index without its date.",
           _each(lambda h: h.runtime.tally.families())),
    Family("enricher_dead_letters_total", "counter", ("stage", "error"),
           "Records written to the dead letters, by the stage or sink that refused them.",
           _dead_letters),
    Family("enricher_dropped_total", "counter", ("stage",),
           "Records that a stage threw away on purpose.",
           _each(lambda h: h.runtime.tally.dropped)),
    Family("enricher_alerts_total", "counter", ("alert",),
           "Alerts that matched.", _each(lambda h: h.runtime.tally.alerts)),
    Family("enricher_stage_cost_seconds_total", "counter", ("stage",),
           "Time spent in a stage, over the sampled records (one delivery in 128).", _cost),
    Family("enricher_stage_cost_records_total", "counter", ("stage",),
           "The records over which the cost was measured.", _sampled),
    Family("enricher_bytes_in_flight", "gauge", (),
           "Bytes of records and documents that are read and not settled.",
           _one(lambda h: h.runtime.budget.used)),
    Family("enricher_bytes_in_flight_limit", "gauge", (),
           "Where reading pauses: --budget-mib.", _one(lambda h: h.runtime.budget.limit)),
    Family("enricher_deliveries_in_flight", "gauge", (),
           "Deliveries that are read and not settled.", _one(lambda h: h.runtime.in_flight)),
    Family("enricher_sink_request_duration_seconds", "histogram", ("sink",),
           "One request of a sink, a bulk of Elasticsearch for one, whatever its answer.",
           _of_sinks("latency")),
    Family("enricher_sink_retries_total", "counter", ("sink",),
           "Requests sent again, in whole or in part.", _of_sinks("retries")),
    Family("enricher_sink_conflicts_total", "counter", ("sink",),
           "Documents that were there already under their own id: read again after a restart.",
           _of_sinks("conflicts")),
    Family("enricher_sink_superseded_total", "counter", ("sink",),
           "Documents older than what is stored under the id that their route named.",
           _of_sinks("superseded")),
    Family("enricher_sink_blocked", "gauge", ("sink",),
           "1 while nothing can be written; nothing is lost, reading pauses.",
           lambda h: [((name,), one.blocked is not None) for name, one in h.outputs.items()]),
    Family("enricher_source_blocked", "gauge", ("source",),
           "1 while nothing can be read.",
           lambda h: [((one.name,), one.blocked is not None) for one in h.runtime.sources]),
    Family("enricher_source_connections", "gauge", ("source",),
           "Connections of clients that send to us, now.", _of_sources("connections")),
    Family("enricher_source_received_records_total", "counter", ("source",),
           "Records that clients sent to us and that were taken.",
           _of_sources("received_records")),
    Family("enricher_source_received_bytes_total", "counter", ("source",),
           "Bytes that clients sent to us, before they are inflated.",
           _of_sources("received_bytes")),
    Family("enricher_source_held_bytes", "gauge", ("source",),
           "Bytes that were sent to us and are not settled, inflated; they are bounded.",
           _of_sources("held_bytes")),
    Family("enricher_http_requests_total", "counter", ("source", "status"),
           "Answers of an http source; 499 where the client was gone before its body had come.",
           _requests),
    Family("enricher_kafka_lag_records", "gauge", _TP,
           "Offsets of a partition that are not settled yet.", _by_partition(lambda p: p.lag)),
    Family("enricher_kafka_watermark_age_seconds", "gauge", _TP,
           "Time since the oldest delivery of a partition that is not settled; 0 when all is.",
           _by_partition(lambda p: p.age_s)),
    Family("enricher_kafka_watermark_offset", "gauge", _TP,
           "The offset below which all is settled: what is committed next.",
           _by_partition(lambda p: p.watermark)),
    Family("enricher_kafka_assigned_partitions", "gauge", ("source",),
           "Partitions that this process owns.", _partitions),
    Family("enricher_kafka_commits_total", "counter", ("source",),
           "Commits of offsets that succeeded.", _of_sources("commits")),
    Family("enricher_kafka_commit_failures_total", "counter", ("source",),
           "Commits that failed; the offsets are kept for the next.",
           _of_sources("failed_commits")),
    Family("enricher_kafka_out_of_range_total", "counter", ("source",),
           "Committed offsets that the log no longer had: records were deleted unread.",
           _of_sources("out_of_range")),
    Family("enricher_event_loop_stall_seconds", "histogram", (),
           "How late the event loop was, measured every 50 ms.",
           lambda h: [((), h.pulse.lateness)]),
    Family("enricher_event_loop_stall_max_seconds", "gauge", (),
           "The longest stall of the last minute.", _one(lambda h: h.pulse.longest_s)),
    Family("enricher_reloads_total", "counter", ("result",),
           "Attempts to exchange the plan: ok, or failed and the old one kept.", _reloads),
    Family("enricher_last_reload_timestamp_seconds", "gauge", (),
           "When the last attempt was.", _last_reload),
)  # fmt: skip


class RunCollector(Collector):
    """Reads the counters of a run whenever it is asked."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """Give every family, those without a sample too: that nothing is there yet is known."""
        for family in FAMILIES:
            yield _metric(family, family.read(self._health))


def _metric(family: Family, samples: Samples) -> Metric:
    name, kind, labels, text, _ = family
    if kind == "histogram":
        histogram = HistogramMetricFamily(name, text, labels=labels)
        for values, value in samples:
            assert isinstance(value, Histogram)
            histogram.add_metric(values, value.buckets(), value.sum)
        return histogram
    plain = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(
        name, text, labels=labels
    )
    for values, value in samples:
        assert not isinstance(value, Histogram)
        plain.add_metric(values, value)
    return plain


def registry_of(health: Health) -> CollectorRegistry:
    """Make the registry of one run: its own metrics and those of the process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RunCollector(health))
    ProcessCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """Write everything in Prometheus' text format."""
    return generate_latest(registry)
