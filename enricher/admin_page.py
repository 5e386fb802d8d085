"""docs/metrics.md: the admin endpoint, its metrics from their table, and what to do with them."""

from __future__ import annotations

from enricher.metrics import FAMILIES
from enricher.pages import page, table

_ADMIN = """`enricher run` as a daemon serves GET and HEAD on `127.0.0.1:9600`. `--admin`, or the
variable `ENRICHER_ADMIN`, names another address: `HOST:PORT` (port 0 takes a free one, the log
tells which), `unix:PATH` (a socket for its owner only), or `off`. There is no password: an address
that is not loopback is open to whoever reaches it.

| path | answers |
| --- | --- |
| `/metrics` | Prometheus' text format |
| `/health/live` | 200 while the event loop turns |
| `/health/ready` | 200, or 503 and the reasons why not |
| `/status` | everything at once, as JSON |"""
_METRICS = """A scrape reads counters that the run keeps anyway; nothing is counted for it event by
event. The usual `process_…` metrics (memory, CPU, descriptors) come with these:"""
_HEALTH = """`{"ready": false, "reasons": ["…"]}` with status 503 while records cannot flow: the
sinks or Kafka are not connected yet, the topics are missing, no partitions were assigned yet,
the brokers do not answer, Elasticsearch is away or answers 401 or 403, dead letters cannot be
written, or it is stopping. Each reason says where and what to look at. It goes on by itself once
that is put right, so readiness is for dashboards and load balancers; restarting helps nothing.
A server is found to be away when it is next needed: for Elasticsearch, by the next record.
A member of the group that owns no partition, because there are fewer than members, is ready."""
_SYSTEMD = """With `Type=notify` the unit is active once the run is ready; while servers are waited
for, the start's time-out is extended and `systemctl status` shows the reason. `STOPPING=1` and
`RELOADING=1` are sent, and `WATCHDOG=1` where `WatchdogSec=` is set: from the event loop, so that
a run that hangs is restarted."""
_WORKERS = """With `--workers N` the supervisor serves these pages for all. `/metrics` merges what
the workers say, each sample with a label `worker`, and adds `enricher_workers` (wanted),
`enricher_workers_alive`, `enricher_worker_up{worker}` (1 where it answered within a second) and
`enricher_worker_restarts_total{worker}`. It is ready when every worker is, and each reason names
its worker; `/status` has a list `workers`. A worker that does not answer is reported down, the
others are served all the same."""
_WORTH_AN_ALERT = {
    "enricher_ready == 0": "for some minutes: records do not flow; /health/ready says why",
    "increase(enricher_worker_restarts_total[15m]) > 3": "a worker dies again and again",
    "max(enricher_kafka_watermark_age_seconds) > 300": "a record has waited for long",
    "sum(enricher_kafka_lag_records) > 1e6": "it does not keep up; more workers, or a slow sink",
    "increase(enricher_kafka_out_of_range_total[1h]) > 0": "records were deleted unread: the one "
    "loss that enricher cannot prevent",
    "rate(enricher_dead_letters_total[5m]) > 0": "records are refused; its labels say by whom",
    "histogram_quantile(0.99, sum by (le, output) (rate(enricher_output_latency_seconds_bucket"
    '{output!=""}[5m]))) > 1': "an output comes late: more workers, or a slow server",
    "increase(enricher_alert_dropped_total[1h]) > 0": "people were not told of something; "
    "its labels say what and why, enricher_alert_blocked who cannot be reached",
    'increase(enricher_reloads_total{result="failed"}[1h]) > 0': "a changed file is wrong",
    "enricher_event_loop_stall_max_seconds > 1": "heartbeats suffer; a stage takes too long",
}


def metrics_page() -> str:
    """Write docs/metrics.md."""
    lines = [
        (f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), one.help)
        for one in FAMILIES
    ]
    alerts = [(f"`{condition}`", text) for condition, text in _WORTH_AN_ALERT.items()]
    return page(
        "Metrics and health",
        [
            _ADMIN,
            f"## Metrics\n\n{_METRICS}",
            table(("metric", "type", "labels", "meaning"), lines),
            f"## Health\n\n{_HEALTH}",
            f"## Workers\n\n{_WORKERS}",
            f"## Worth an alert\n\n{table(('condition', 'says'), alerts)}",
            f"## systemd\n\n{_SYSTEMD}",
        ],
    )
