"""What a pipeline sends beside its documents: what may be written, and what comes of an event."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from enricher.build import build
from enricher.config import load
from enricher.inline_tests import run_tests
from enricher.model import DeadLetter, Destination, Document, Dropped, Output, Record
from enricher.outputs_page import EXAMPLE
from enricher.sinks.store import StoreSink
from tests.alerts.black_hole import BlackHole
from tests.cli.program import enricher
from tests.test_config import GOOD, problems

KAFKA: dict[str, Any] = {"name": "k", "kafka": {"topic": "t"}}


def with_outputs(*outputs: dict[str, Any]) -> str:
    return GOOD + yaml.safe_dump({"outputs": outputs}, sort_keys=False)


def outcome_of(
    folder: Path, event: dict[str, Any], *outputs: dict[str, Any], more: str = ""
) -> Any:
    """Give what becomes of an event, by the fast way and by the plain one, which agree."""
    file = folder / "p.yaml"
    file.write_text(with_outputs(*outputs).replace("routes:", f"{more}routes:"))
    record = Record(orjson.dumps(event), "t-0-5-1700000000000", 1_700_000_000_000, "t/0", 5)
    plan = build(load(file, {}))
    (fast,) = asyncio.run(plan.process([record]))
    (plain,) = asyncio.run(plan.process_timed([record], {}))
    assert fast == plain
    return fast


def sent(folder: Path, event: dict[str, Any], *outputs: dict[str, Any], more: str = "") -> Any:
    return [
        (output.to.name, output.key, orjson.loads(output.body))
        for output in outcome_of(folder, event, *outputs, more=more).outputs
    ]


def test_every_output_that_matches_is_sent(tmp_path: Path) -> None:
    """Unlike routes, the first takes nothing from those behind it."""
    outputs = [
        {"name": "a", "when": "n > 1", "kafka": {"topic": "t", "body": {"is": "a"}}},
        {"name": "b", "when": "n > 2", "kafka": {"topic": "t", "body": {"is": "b"}}},
        {"name": "c", "redis": {"key": "c:{n}", "expire_s": 5, "body": {"is": "c"}}},
    ]
    own = "t-0-5-1700000000000"
    assert sent(tmp_path, {"n": 2}, *outputs) == [
        ("a", own, {"is": "a"}),
        ("c", "c:2", {"is": "c"}),
    ]
    assert [name for name, *_ in sent(tmp_path, {"n": 3}, *outputs)] == ["a", "b", "c"]


def test_a_body_keeps_types_and_writes_null_for_what_is_missing(tmp_path: Path) -> None:
    """Never a literal `{field}`, nor `None` as a text."""
    body = {
        "number": "{n}",
        "list": "{why}",
        "text": "n is {n}",
        "gone": "{missing}",
        "gone_text": "n is {missing}",
        "nested": {"deep": ["{user.id}", "{user.tier}", {"x": "{n}"}], "constant": 1.5},
        "day": "{@timestamp:%Y.%m.%d}",
        "of": "{$pipeline}",
        "braces": "{{n}}",
        "flags": [True, None, "x"],
        "added": "{level}",
    }
    event = {
        "n": 7,
        "why": ["a", {"b": 1}],
        "user": {"id": "u1"},
        "@timestamp": "2025-10-20T01:00:00+05:30",
    }
    stage = "  - set: {fields: {level: high}}\n"
    output = {"name": "k", "kafka": {"topic": "t", "body": body}}
    ((_, _, got),) = sent(tmp_path, event, output, more=stage)
    assert got == {
        "number": 7,
        "list": ["a", {"b": 1}],
        "text": "n is 7",
        "gone": None,
        "gone_text": None,
        "nested": {"deep": ["u1", None, {"x": 7}], "constant": 1.5},
        "day": "2025.10.20",
        "of": "p",
        "braces": "{n}",
        "flags": [True, None, "x"],
        "added": "high",
    }


def test_without_a_body_it_is_the_whole_event(tmp_path: Path) -> None:
    """With what the stages added."""
    stage = "  - set: {fields: {level: high}}\n"
    done = outcome_of(tmp_path, {"n": 1}, KAFKA, more=stage)
    assert orjson.loads(done.outputs[0].body) == {"n": 1, "level": "high"}
    assert done.outputs[0].body == done.body


def test_what_a_stage_hides_is_hidden_in_outputs(tmp_path: Path) -> None:
    """They are made behind the last stage, of the event as it is then."""
    stage = "  - mask: {fields: {vpa: vpa}}\n"
    outputs = [
        {"name": "k", "kafka": {"topic": "t", "key": "{vpa}", "body": {"of": "{vpa}"}}},
        {"name": "r", "redis": {"key": "v:{vpa}", "expire_s": 1}},
    ]
    done = outcome_of(tmp_path, {"vpa": "rakesh@okaxis"}, *outputs, more=stage)
    assert not any(b"rakesh" in one.body or "rakesh" in one.key for one in done.outputs)


@pytest.mark.parametrize(
    ("event", "topic_key", "redis_key"),
    [
        ({"id": "p1"}, "p1", "a:p1"),
        ({"id": 5}, "5", "a:5"),
        ({"id": ""}, "t-0-5-1700000000000", "a:t-0-5-1700000000000"),
        ({}, "t-0-5-1700000000000", "a:t-0-5-1700000000000"),
        ({"id": "é" * 257}, "t-0-5-1700000000000", "a:t-0-5-1700000000000"),
        ({"id": "x" * 510}, "x" * 510, "a:" + "x" * 510),
        ({"id": "x" * 511}, "x" * 511, "a:t-0-5-1700000000000"),
    ],
)
def test_a_key_that_cannot_be_gives_way_to_the_records_id(
    tmp_path: Path, event: dict[str, Any], topic_key: str, redis_key: str
) -> None:
    """Missing, empty, or longer than 512 bytes; behind the fixed text in Redis."""
    outputs = [
        {"name": "k", "kafka": {"topic": "t", "key": "{id}"}},
        {"name": "r", "redis": {"key": "a:{id}", "expire_s": 1}},
    ]
    assert [key for _, key, _ in sent(tmp_path, event, *outputs)] == [topic_key, redis_key]


@pytest.mark.parametrize(
    ("stage", "kind"),
    [
        ("  - drop: {when: n == 1}\n", Dropped),
        ("  - convert: {field: s, on_error: dead_letter}\n", DeadLetter),
    ],
)
def test_what_a_stage_refuses_sends_nothing(tmp_path: Path, stage: str, kind: type) -> None:
    """An output belongs to a document."""
    assert type(outcome_of(tmp_path, {"n": 1, "s": "no"}, KAFKA, more=stage)) is kind


def test_every_mistake_with_its_place(tmp_path: Path) -> None:
    """Misspelt, missing, twice, and what an event may not decide."""
    text = GOOD + (
        "outputs:\n"
        "  - {name: a, when: 'n >', kafka: {topic: t}}\n"
        "  - name: b\n"
        "    kafka: {topik: t, body: {deep: [{x: '{y'}], of: '{$hostnam}'}}\n"
        "  - {name: c, redis: {key: '{id}', expire_s: 0}}\n"
        "  - {name: d}\n"
        "  - {name: d, kafka: {topic: t, key: '{$now}'}}\n"
        "  - {name: e f, kafka: {topic: t, body: {n: 99999999999999999999}}}\n"
        "  - {name: g, kafka: {topic: t}, redis: {key: 'a:{id}', expire_s: 1}}\n"
    )
    assert problems(tmp_path, text) == [
        "7:15: outputs[0].when: bad expression: invalid syntax",
        '9:5: outputs[1].kafka: missing field "topic"',
        '9:13: outputs[1].kafka.topik: unknown field "topik" (did you mean "topic"?)',
        '9:38: outputs[1].kafka.body.deep[0].x: a single "{" in "{y": write {{',
        '9:49: outputs[1].kafka.body.of: unknown value "{$hostnam}" (did you mean "hostname"?)',
        (
            '10:23: outputs[2].redis.key: begin "{id}" with a fixed text, such as "alert:{id}": '
            "an event could overwrite any key of the server otherwise"
        ),
        "10:36: outputs[2].redis.expire_s: input should be greater than or equal to 1",
        "11:5: outputs[3]: an output names exactly one of kafka, redis",
        (
            "12:33: outputs[4].kafka.key: a key comes from the event alone: "
            "a replay must give it again"
        ),
        "13:6: outputs[5].name: string should match pattern '^[A-Za-z0-9_-]{1,64}$'",
        "13:42: outputs[5].kafka.body.n: JSON cannot hold this number",
        "14:5: outputs[6]: an output names exactly one of kafka, redis",
    ]


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    """It counts, and names the stage of a dead letter."""
    assert problems(tmp_path, with_outputs(KAFKA, KAFKA)) == [
        '7:3: outputs[1]: the name "k" is taken; give this one another'
    ]


def test_inline_tests_expect_outputs(tmp_path: Path) -> None:
    """By name, or with key and body; what is not named is not compared."""
    file = tmp_path / "p.yaml"
    good = {"name": "high", "key": "p1", "body": {"payment": {"id": "p1"}}}
    for expected, differences in (
        ([good, "high-flag"], []),
        (["high-flag", "high"], ["outputs"]),
        (["high"], ["outputs"]),
        ([{**good, "key": "p2"}, "high-flag"], ["outputs.high.key"]),
        ([{**good, "body": {"fraud_score": 1, "x": 1}}, "high-flag"],
         ["outputs.high.body.fraud_score", "outputs.high.body.x"]),
    ):  # fmt: skip
        pipeline = yaml.safe_load(EXAMPLE)
        given = {"payment_id": "p1", "fraud_score": 75}
        pipeline["tests"] = [{"name": "x", "given": given, "expect": {"outputs": expected}}]
        file.write_text(yaml.safe_dump(pipeline))
        (result,) = asyncio.run(run_tests(load(file, {})))
        assert [one.path for one in result.differences] == differences


def test_the_example_of_the_page(tmp_path: Path) -> None:
    """Its own test passes; dry-run shows what would be sent; locally it is kept."""
    (tmp_path / "p.yaml").write_text(EXAMPLE)
    events = b'{"payment_id":"p1","fraud_score":75}\n{"payment_id":"p2","fraud_score":7}\n'
    (tmp_path / "events").write_bytes(events)
    assert enricher("test", "p.yaml", folder=tmp_path).code == 0
    high, low = enricher("dry-run", "p.yaml", "events", folder=tmp_path).lines
    assert high["outputs"][1] == {
        "name": "high-flag",
        "expire_s": 3600,
        "key": "fraud_alert:p1",
        "body": {"score": 75},
    }
    topic = {"name": "high", "topic": "fraud-alerts-high", "key": "p1"}
    assert high["outputs"][0].items() >= topic.items()
    assert "outputs" not in low
    explained = enricher("dry-run", "p.yaml", "events", "--explain", folder=tmp_path).out
    assert "⇒ high: kafka fraud-alerts-high p1" in explained
    for _ in range(2):  # once more is not twice
        done = enricher("run", "p.yaml", "events", "--local", "--format", "json", folder=tmp_path)
        assert done.lines[0]["outputs"] == {"high": 1, "high-flag": 1}
        assert kept(tmp_path) == [
            ("fraud-alerts-high", "HIGH_FRAUD_RISK"),
            ("fraud-logs", None),
            ("fraud-logs", None),
            ("redis", None),
        ]


def test_only_a_run_sends(tmp_path: Path) -> None:
    """What shows, checks and measures outputs connects to nobody."""
    (tmp_path / "p.yaml").write_text(EXAMPLE)
    (tmp_path / "events").write_bytes(b'{"payment_id":"p1","fraud_score":75}\n')
    with BlackHole() as hole:
        environment = {
            "KAFKA_BROKERS": hole.address,
            "ELASTICSEARCH_URL": f"http://{hole.address}",
            "REDIS_URL": f"redis://{hole.address}/0",
        }
        for command in (
            ("check", "p.yaml"),
            ("test", "p.yaml"),
            ("dry-run", "p.yaml", "events"),
            ("bench", "p.yaml", "events"),
            ("run", "p.yaml", "events", "--local"),
        ):
            done = enricher(*command, folder=tmp_path, environment=environment)
            assert done.code == 0, done.err
        assert hole.accepted == 0


def kept(folder: Path) -> list[Any]:
    query = "select \"index\", document ->> 'alert_type' from documents order by 1"
    database = sqlite3.connect(folder / "enricher.db")
    rows = database.execute(query).fetchall()
    database.close()
    return rows


async def test_the_store_keeps_the_newer_of_two_values(tmp_path: Path) -> None:
    """As Redis would: by key. Messages are all kept, each once."""
    store = StoreSink(tmp_path / "db")
    await store.open()
    redis, topic = Destination("r", "redis", "k:", expire_s=1), Destination("t", "kafka", topic="t")
    for at in (1, 3, 2):
        record = Record(b"", f"id{at}", at, "s", at)
        body = b'{"at":%d}' % at
        await store.write([Output(record, redis, "k:1", body), Output(record, topic, "k", body)])
        await store.write([Document(record, "elasticsearch", "i", record.id, None, body)])
    await store.close()
    database = sqlite3.connect(tmp_path / "db")
    query = 'select "index", id, document from documents where "index" <> \'i\' order by 1, 2'
    rows = database.execute(query).fetchall()
    database.close()
    assert rows == [
        ("redis", "k:1", '{"at":3}'),
        ("t", "id1/t", '{"at":1}'),
        ("t", "id2/t", '{"at":2}'),
        ("t", "id3/t", '{"at":3}'),
    ]
