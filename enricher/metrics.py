"""What `/metrics` offers, as one table: names, meanings, and where each number is read.

Nothing is counted for Prometheus' sake; a scrape reads the counters that the run keeps anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

from enricher import readings as read
from enricher.health import Health, lookups, windows
from enricher.histogram import Histogram
from enricher.readings import Samples

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Family(NamedTuple):
    """One metric: what it is called, what it means, and how it is read."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    read: Callable[[Health], Samples]


_TP = ("source", "topic", "partition")
_AS = ("alert", "sender")
FAMILIES: tuple[Family, ...] = (
    Family("enricher_build_info", "gauge", ("version", "pipeline", "digest"),
           "Always 1; what runs here. The digest is the pipeline file's.", read.build_info),
    Family("enricher_ready", "gauge", (),
           "1 while records can flow, 0 while not; /health/ready says why.",
           read.single(lambda h: not h.reasons())),
    Family("enricher_records_read_total", "counter", (),
           "Records taken from the sources.", read.single(lambda h: h.runtime.tally.read)),
    Family("enricher_records_settled_total", "counter", (),
           "Records indexed, dropped or dead letters, and acknowledged to their source.",
           read.single(lambda h: h.runtime.tally.records)),
    Family("enricher_documents_total", "counter", ("index",),
           "Documents written; the index without its date.",
           read.each(lambda h: h.runtime.tally.families())),
    Family("enricher_dead_letters_total", "counter", ("stage", "error"),
           "Records written to the dead letters, by the stage or sink that refused them.",
           read.dead_letters),
    Family("enricher_dropped_total", "counter", ("stage",),
           "Records that a stage threw away on purpose.",
           read.each(lambda h: h.runtime.tally.dropped)),
    Family("enricher_alerts_total", "counter", ("alert",),
           "Alerts that matched.", read.each(lambda h: h.runtime.tally.alerts)),
    Family("enricher_outputs_total", "counter", ("output",),
           "Outputs sent and acknowledged; what is sent again after a restart counts again.",
           read.each(lambda h: h.runtime.tally.outputs)),
    Family("enricher_output_latency_seconds", "histogram", ("sink", "output"),
           "From a record's timestamp (Kafka's, or its arrival) until what came of it was "
           "acknowledged: an output by its name, a document without one.",
           lambda h: h.runtime.tally.latency.items()),
    Family("enricher_alert_told_total", "counter", _AS,
           "Matches that people were told of, in full or in a message's count.",
           read.alerts("told")),
    Family("enricher_alert_suppressed_total", "counter", _AS,
           "Matches whose fingerprint was told before.", read.alerts("suppressed")),
    Family("enricher_alert_dropped_total", "counter", (*_AS, "reason"),
           "Matches that nobody is told of: expired, refused, stopped (at the end of the run).",
           read.dropped_alerts),
    Family("enricher_alert_waiting", "gauge", _AS,
           "Matches that still have to be told: for their interval, or for a server.",
           read.alerts("waiting")),
    Family("enricher_alert_messages_total", "counter", _AS,
           "Messages that were taken; for alertmanager, alerts that a replica took.",
           read.alerts("messages")),
    Family("enricher_alert_folded_total", "counter", _AS,
           "Matches told under fewer labels than their own, for these were too many.",
           read.alerts("folded")),
    Family("enricher_alert_firing", "gauge", ("alert",),
           "Label sets of an alert that fire at present.", read.firing),
    Family("enricher_alert_blocked", "gauge", ("sender", "to"),
           "1 while an alert's sender, or a replica of Alertmanager, cannot be reached.",
           read.ways(lambda way: way.blocked is not None)),
    Family("enricher_alert_failures_total", "counter", ("sender", "to"),
           "Messages that had to be sent again.", read.ways(lambda way: way.failures)),
    Family("enricher_stage_cost_seconds_total", "counter", ("stage",),
           "Time spent in a stage, over the sampled records (one delivery in 128).",
           read.stage_costs),
    Family("enricher_stage_cost_records_total", "counter", ("stage",),
           "The records over which the cost was measured.", read.sampled_records),
    Family("enricher_bytes_in_flight", "gauge", (),
           "Bytes of records and documents that are read and not settled.",
           read.single(lambda h: h.runtime.budget.used)),
    Family("enricher_bytes_in_flight_limit", "gauge", (),
           "Where reading pauses: --budget-mib.", read.single(lambda h: h.runtime.budget.limit)),
    Family("enricher_deliveries_in_flight", "gauge", (),
           "Deliveries that are read and not settled.", read.single(lambda h: h.runtime.in_flight)),
    Family("enricher_sink_request_duration_seconds", "histogram", ("sink",),
           "One request of a sink, a bulk of Elasticsearch for one, whatever its answer.",
           read.of_sinks("latency")),
    Family("enricher_sink_retries_total", "counter", ("sink",),
           "Requests sent again, in whole or in part.", read.of_sinks("retries")),
    Family("enricher_sink_conflicts_total", "counter", ("sink",),
           "Documents that were there already under their own id: read again after a restart.",
           read.of_sinks("conflicts")),
    Family("enricher_sink_superseded_total", "counter", ("sink",),
           "Documents older than what is stored under the id that their route named.",
           read.of_sinks("superseded")),
    Family("enricher_sink_blocked", "gauge", ("sink",),
           "1 while nothing can be written; nothing is lost, reading pauses.",
           lambda h: [((name,), one.blocked is not None) for name, one in h.sinks.items()]),
    Family("enricher_source_blocked", "gauge", ("source",),
           "1 while nothing can be read.",
           lambda h: [((one.name,), one.blocked is not None) for one in h.runtime.sources]),
    Family("enricher_source_connections", "gauge", ("source",),
           "Connections of clients that send to us, now.", read.of_sources("connections")),
    Family("enricher_source_received_records_total", "counter", ("source",),
           "Records that clients sent to us and that were taken.",
           read.of_sources("received_records")),
    Family("enricher_source_received_bytes_total", "counter", ("source",),
           "Bytes that clients sent to us, before they are inflated.",
           read.of_sources("received_bytes")),
    Family("enricher_source_held_bytes", "gauge", ("source",),
           "Bytes that were sent to us and are not settled, inflated; they are bounded.",
           read.of_sources("held_bytes")),
    Family("enricher_source_accepted_total", "counter", ("source",),
           "Connections that clients made.", read.of_sources("accepted")),
    Family("enricher_source_refused_total", "counter", ("source", "reason"),
           "Connections refused or ended for what was sent, or for want of room.", read.refused),
    Family("enricher_source_open_without_tls", "gauge", ("source",),
           "1 where a source is open to the network without TLS.",
           read.of_sources("open_without_tls")),
    Family("enricher_beats_windows_total", "counter", ("source",),
           "Windows that Beats began: batches.", read.of_sources("windows")),
    Family("enricher_beats_acks_total", "counter", ("source",),
           "Windows acknowledged: each of their events is durable.", read.of_sources("acks")),
    Family("enricher_beats_keepalives_total", "counter", ("source",),
           "Acknowledgements of nothing or of a part, to senders that wait.",
           read.of_sources("keepalives")),
    Family("enricher_http_requests_total", "counter", ("source", "status"),
           "Answers of an http source; 499 where the client was gone before its body had come.",
           read.requests),
    Family("enricher_file_lag_bytes", "gauge", ("source", "file"),
           "Bytes of a followed file that are not settled yet; the hundred largest, and `other`.",
           read.file_lags),
    Family("enricher_file_followed", "gauge", ("source",),
           "Files that are followed.", read.of_sources("followed")),
    Family("enricher_file_open", "gauge", ("source",),
           "Those of them that are open.", read.of_sources("open_files")),
    Family("enricher_file_unreadable", "gauge", ("source",),
           "Those of them that cannot be read; the log says why.", read.of_sources("unreadable")),
    Family("enricher_file_truncated_total", "counter", ("source",),
           "Files that began anew: truncated, or another one with the same inode.",
           read.of_sources("truncated")),
    Family("enricher_file_vanished_total", "counter", ("source",),
           "Files that were gone before they were read to their end.",
           read.of_sources("vanished")),
    Family("enricher_kafka_lag_records", "gauge", _TP,
           "Offsets of a partition that are not settled yet.", read.by_partition(lambda p: p.lag)),
    Family("enricher_kafka_watermark_age_seconds", "gauge", _TP,
           "Time since the oldest delivery of a partition that is not settled; 0 when all is.",
           read.by_partition(lambda p: p.age_s)),
    Family("enricher_kafka_watermark_offset", "gauge", _TP,
           "The offset below which all is settled: what is committed next.",
           read.by_partition(lambda p: p.watermark)),
    Family("enricher_kafka_assigned_partitions", "gauge", ("source",),
           "Partitions that this process owns.", read.partitions),
    Family("enricher_kafka_commits_total", "counter", ("source",),
           "Commits of offsets that succeeded.", read.of_sources("commits")),
    Family("enricher_kafka_commit_failures_total", "counter", ("source",),
           "Commits that failed; the offsets are kept for the next.",
           read.of_sources("failed_commits")),
    Family("enricher_kafka_out_of_range_total", "counter", ("source",),
           "Committed offsets that the log no longer had: records were deleted unread.",
           read.of_sources("out_of_range")),
    Family("enricher_lookup_events_total", "counter", ("stage", "answered_by"),
           "Events that had a key: answered by the cache, by the store, by a stale answer while "
           "the store is away, or by nobody, which is a failure. A reload begins anew.",
           read.looked_up),
    Family("enricher_lookup_waiting", "gauge", ("stage",),
           "1 while records wait for the store of a look-up.",
           lambda h: [((name,), one.blocked is not None)
                      for name, one in lookups(h.runtime).items()]),
    Family("enricher_window_events_total", "counter", ("stage", "outcome"),
           "Events that had a key: answered, refused because they came too late, or by nobody "
           "while the store is away. A reload begins anew.",
           read.windowed),
    Family("enricher_window_waiting", "gauge", ("stage",),
           "1 while records wait for the store of a window's state.",
           lambda h: [((name,), one.blocked is not None)
                      for name, one in windows(h.runtime).items()]),
    Family("enricher_redis_round_trips_total", "counter", ("server",),
           "Times that a server was asked, with all keys of a batch at once.",
           read.of_servers(lambda one: one.round_trips)),
    Family("enricher_redis_failures_total", "counter", ("server",),
           "Those of them that were not answered in time, or refused.",
           read.of_servers(lambda one: one.failures)),
    Family("enricher_redis_circuit_open", "gauge", ("server",),
           "1 while nothing is asked because several attempts in a row failed.",
           read.of_servers(lambda one: one.breaker.reason is not None)),
    Family("enricher_tls_unverified", "gauge", ("connection",),
           "1 where certificates are not verified: anybody may stand in for the server.",
           read.unverified),
    Family("enricher_event_loop_stall_seconds", "histogram", (),
           "How late the event loop was, measured every 50 ms.",
           lambda h: [((), h.pulse.lateness)]),
    Family("enricher_event_loop_stall_max_seconds", "gauge", (),
           "The longest stall of the last minute.", read.single(lambda h: h.pulse.longest_s)),
    Family("enricher_reloads_total", "counter", ("result",),
           "Attempts to exchange the plan: ok, or failed and the old one kept.", read.reloads),
    Family("enricher_last_reload_timestamp_seconds", "gauge", (),
           "When the last attempt was.", read.last_reload),
    Family("enricher_geoip_build_timestamp_seconds", "gauge", ("file", "type"),
           "When the GeoIP database in use was built.", read.databases),
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
