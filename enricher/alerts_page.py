"""docs/alerts.md: how people are told, from the models, with an example that a test runs."""

from __future__ import annotations

from enricher.alerts.alert import Alert
from enricher.connections import AlertmanagerConnection, SmtpConnection
from enricher.fields import models_in
from enricher.pages import field_table, model_text, page

EXAMPLE = """\
name: orders
connections:
  alertmanager: {urls: "${ALERTMANAGER_URL:-}"}
stages:
  - json: {}
routes:
  - console: {}
alerts:
  - name: OrderFailed
    when: level == "ERROR"
    summary: "{service}: {error.type}"
    alertmanager:
      labels: {severity: high, service: "{service}", error: "{error.type}"}
      annotations: {description: "Order {order_id} failed: {error.message}"}
"""
EVENT = (
    '{"level": "ERROR", "service": "orders", "order_id": "o1", '
    '"error": {"type": "Timeout", "message": "no answer"}}'
)
_LEAD = """An alert fires for every event for which its `when` is true, once the event's document
is durable: what is refused or thrown away alerts nobody. It is counted and printed in any case;
it is sent where the connection that it needs is configured (`connections.alertmanager`,
`connections.smtp`). Otherwise a warning at the start names it, and the variable to set. Nothing
is ever sent by `dry-run`, `test`, `bench`, `dlq replay`, and `run --local`.

Sending never holds the pipeline up. Each alert's mails and webhooks, and each replica of
Alertmanager, have a task of their own; what waits there is bounded, whoever hangs for however
long."""
_DIGESTS = """Mails and webhooks tell many matches in one message: the first ten in full, all the
others as a number.

- **The same thing is told once.** Matches with the same `fingerprint` are told once in
  `repeat_after_s`. What was told stands in Redis, where there is one (`connections.redis.url`;
  of a cluster no use is made), under a hash: it holds over a restart, and for all workers. So
  what is read again after a crash is told once. Without Redis, or while it is away, memory alone
  knows.
- **Few messages.** The first match waits `group_wait_s` for others; then there is one message in
  `group_interval_s`, and no more than `max_per_hour`. What comes meanwhile is in the next one.
- **Tried again.** A message that does not get through is tried again for `ttl_s`, at growing
  intervals, while the next one gathers. What is refused for good, and what is too old, is dropped
  and counted; its fingerprints count as never told.
- **At the end** of a run (SIGTERM), what waits is sent at once, within five seconds and the
  drain's deadline. What cannot be sent by then is dropped, counted and logged. What waits is in
  memory: a process that is killed takes it along, for records owe an acknowledgement to their
  index alone.

Each match is told, suppressed (by its fingerprint), dropped, or waits:
[the metrics](metrics.md) add up to the matches."""
_ALERTMANAGER = """Matches with the same labels are one alert in Alertmanager, which groups, repeats
and routes it by its own rules; of the fields above only `ttl_s` counts here. It starts with the
first match and shows annotations and URL of the latest. All that fires is posted to every replica
soon after something new does, and again after a quarter of `resolve_after_s` (a minute at most):
a replica that was restarted knows of it again. Without a match for `resolve_after_s` it is over.
An alert that is over before any replica could be told of it is told late, up to `ttl_s` after its
last match.

Labels are for what tells alerts apart: few values. A label from a field that looks like an id, an
amount, a time or an address is refused by `check`; what has more than `max_label_sets` label sets
at a time is told under the labels that are the same for every event, with `overflow="true"`.
Values lose control characters and are cut to 256 characters; in the URL they are percent-encoded
and lose quotes."""
_WORKERS = """Each of several workers (`--workers N`) tells of the records that it reads.
Alertmanager merges equal label sets, so there it makes no difference. Of a mail or webhook there
may be one from each worker in an interval, each with its own count; fingerprints are shared
through Redis, and records with the same Kafka key are read by the same worker.

A reload (SIGHUP, or a changed file) takes effect on what waits, too; fingerprints stay known. Of an
alert that is gone, what waits is told a last time, and what fires until it is over."""


def alerts_page() -> str:
    """Write docs/alerts.md."""
    parts = [
        _LEAD,
        "## alerts",
        model_text(Alert, inner=False),
        f"## Mails and webhooks\n\n{_DIGESTS}",
    ]
    for kind in ("email", "webhook", "alertmanager"):
        (target,) = models_in(Alert.model_fields[kind].annotation)
        parts += [f"### {kind}", model_text(target)]
        if kind == "webhook":
            parts.append(f"## Alertmanager\n\n{_ALERTMANAGER}")
    parts += [f"## Workers and reloads\n\n{_WORKERS}"]
    parts += ["## Connections", "`alertmanager`:", field_table(AlertmanagerConnection)]
    parts += ["`smtp`:", field_table(SmtpConnection)]
    parts += [f"## Try it\n\n{_TRY}"]
    return page("Alerts", parts)


_TRY = f"""With an Alertmanager at hand (`docker compose up alertmanager`), and this as
`orders.yaml`:

```yaml
{EXAMPLE}```

```
export ALERTMANAGER_URL=http://localhost:9093
echo '{EVENT}' | enricher run orders.yaml -
curl -s localhost:9093/api/v2/alerts
```"""
