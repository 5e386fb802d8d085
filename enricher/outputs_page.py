"""docs/outputs.md: what a record sends beside its document, and what is promised of it."""

from __future__ import annotations

from enricher.fields import models_in
from enricher.outputs import Output
from enricher.pages import model_text, page

EXAMPLE = """\
name: frauds
connections:
  kafka: {brokers: "${KAFKA_BROKERS:-localhost:9092}"}
  elasticsearch: {hosts: "${ELASTICSEARCH_URL:-http://localhost:9200}"}
  redis: {url: "${REDIS_URL:-redis://localhost:6379/0}"}
sources:
  - kafka: {topics: [payment-logs], group: frauds}
stages:
  - json: {}
routes:
  - elasticsearch: {index: "fraud-logs"}
outputs:
  - name: high
    when: fraud_score > 60
    kafka:
      topic: fraud-alerts-high
      key: "{payment_id}"
      body:
        alert_type: HIGH_FRAUD_RISK
        fraud_score: "{fraud_score}"
        payment: {id: "{payment_id}", amount: "{amount}", text: "₹{amount} by {user_id}"}
        recommended_actions: [block_transaction, call_customer]
  - name: high-flag
    when: fraud_score > 60
    redis: {key: "fraud_alert:{payment_id}", expire_s: 3600, body: {score: "{fraud_score}"}}
tests:
  - name: a high score is told at once
    given: {payment_id: p1, fraud_score: 75, amount: 60000, user_id: u1}
    expect:
      outputs:
        - {name: high, key: p1, body: {fraud_score: 75, payment: {text: "₹60000 by u1"}}}
        - high-flag
"""
_LEAD = """An item of `outputs:` sends something for every event for which its `when` is true: a
message to a topic of Kafka, or a value in Redis that expires. Unlike routes, of which the first
that matches takes the event, every output that matches sends. An alert is for people and owes
nothing; an output is for programs, and **its record is acknowledged only once the document and
all its outputs are durable**.

An output belongs to a document. A record that a stage drops or sends to the dead letters, or that
no route takes, sends none. Nothing is sent by `dry-run` (which shows outputs), `test`, `bench`."""
_PROMISE = """- **None is lost.** Kafka takes a message from an idempotent producer with `acks=all`;
  Redis answers each `SET`. While either is away, or refuses for a reason that is not the output's
  (a topic that does not exist, no rights, Redis out of memory), it is tried again for ever:
  reading pauses, `/health/ready` says why, and nothing is committed.
- **None counts twice, by its id.** After a crash (and after some errors of a broker) a record is
  read again, or a batch sent again, so a message may stand in its topic twice: with the same key,
  the same body but for `{$now}`, and the same header `id` (`<id of the record>/<name of the
  output>`). A reader that drops a message whose `id` it has seen has each exactly once. The
  record's id holds for good: topic, partition, offset and timestamp of Kafka.
- In Redis, the same command again changes nothing but the time that is left. How long a value
  that Redis has taken outlasts a crash of Redis is a matter of Redis' own (`appendfsync`).
- **What is refused for good** (a message larger than 1 MiB or than the topic takes) makes the
  record a dead letter: one for each record, with the output's name as its `stage`. The document
  may be there all the same, and the other outputs. `dlq replay` writes all of them again, under
  the same ids.
- Document and outputs are written at the same time, so that an output does not wait for the
  index: a record whose document is refused afterwards may have sent its outputs.
- Messages of one key keep their order within a partition that one worker reads. In Redis the
  value that was written last stays; a replay of an old record writes its old value."""
_TRY = """Locally (`run --local`), a message is kept as a document of the store whose index is
its topic and whose id is its `id`; a value of Redis in the index `redis`, under its key."""
_WATCH = """`enricher_outputs_total` counts by name, `enricher_output_latency_seconds` measures
from the record's timestamp to the acknowledgement (of documents, too: there `output` is empty);
what is written to is `kafka_outputs` and `redis_outputs` among the sinks
([metrics](metrics.md))."""


def outputs_page() -> str:
    """Write docs/outputs.md."""
    parts = [
        _LEAD,
        f"```yaml\n{EXAMPLE}```",
        "## outputs",
        model_text(Output, inner=False),
    ]
    for kind in Output.kinds:
        (target,) = models_in(Output.model_fields[kind].annotation)
        parts += [f"### {kind}", model_text(target)]
    parts += [f"## What is promised\n\n{_PROMISE}"]
    parts += [f"## Locally\n\n{_TRY}", f"## Watching\n\n{_WATCH}"]
    return page("Outputs", parts)
