"""`enricher generate`: the same events for the same seed, as many as wanted."""

from __future__ import annotations

from pathlib import Path

import orjson

from enricher.cli.generate import TOPICS
from enricher.generator import generate, generate_fraud, hostile
from enricher.lookups import read_lookups

from .program import TINY, enricher, enricher_each


def test_events(tmp_path: Path) -> None:
    """Those of the generator, a line each; another seed gives others, a topic its own."""
    first, again, other, fraud = enricher_each(
        (
            ("generate", "-n", 300),
            ("generate", "-n", 300, "--seed", 1),
            ("generate", "-n", 300, "--seed", 2),
            ("generate", "-n", 300, "--topic", "fraud-logs"),
        ),
        folder=tmp_path,
    )
    events = list(generate(300, 1))
    assert first.out.encode().splitlines() == [event.value for event in events]
    assert again == first
    assert other.out != first.out
    assert other.code == fraud.code == 0
    wanted = [event.value for event in events if event.topic == "fraud-logs"]
    assert fraud.out.encode().splitlines() == wanted


def test_every_topic_may_be_chosen(tmp_path: Path) -> None:
    """The names are those of the generators; a misspelt one is told."""
    assert {event.topic for event in generate(300)} == set(TOPICS)
    assert {event.topic for event in hostile(300)} == set(TOPICS)
    result = enricher("generate", "--topic", "payment-log", folder=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert "'payment-log' is not one of 'payment-logs'" in result.err


def test_users_are_a_file_of_lookups(tmp_path: Path) -> None:
    """What it prints, `--lookups` reads."""
    result = enricher("generate", "--users", folder=tmp_path)
    assert (result.code, result.err) == (0, "")
    file = tmp_path / "users.ndjson"
    file.write_text(result.out)
    known = read_lookups(file)
    assert len(known) == len(result.lines) > 100
    (tmp_path / "p.yaml").write_text(
        TINY.replace("  - drop:", '  - lookup: {key: "user:{u}", target: user}\n  - drop:')
    )
    key = next(line["key"] for line in result.lines if isinstance(line["value"], dict))
    event = orjson.dumps({"u": key.removeprefix("user:")})
    found = enricher("dry-run", "p.yaml", "--lookups", file.name, folder=tmp_path, stdin=event)
    assert found.lines[0]["document"]["user"] == orjson.loads(known[key])


def test_fraud_comes_with_labels(tmp_path: Path) -> None:
    """The events of the generator; a line for each fraud, and none without a file for them."""
    fraud = ("generate", "--fraud", 0.05, "-n", 500)
    first, again = enricher_each((fraud, (*fraud, "--labels", "labels.ndjson")), folder=tmp_path)
    records = list(generate_fraud(500, 0.05))
    assert first.out.encode().splitlines() == [one.record.value for one in records]
    assert (again.out, again.err, again.code) == (first.out, "", 0)
    labels = [orjson.loads(line) for line in (tmp_path / "labels.ndjson").read_bytes().splitlines()]
    frauds = {one.payment_id: one.episode for one in records if one.episode}
    assert len(labels) == 25
    assert labels[0] == {"payment_id": labels[0]["payment_id"], "fraud": True, "episode": "burst"}
    assert {label["payment_id"]: label["episode"] for label in labels} == frauds


def test_what_does_not_go_with_fraud_is_told(tmp_path: Path) -> None:
    alone, hostile_too, nowhere = enricher_each(
        (
            ("generate", "--labels", "labels.ndjson"),
            ("generate", "--fraud", "0.1", "--hostile"),
            ("generate", "--fraud", "0.1", "--labels", "no/labels.ndjson"),
        ),
        folder=tmp_path,
    )
    assert (alone.code, hostile_too.code, nowhere.code) == (2, 2, 2)
    assert "give that too" in alone.err
    assert "choose one of --hostile and --fraud" in hostile_too.err
    assert nowhere.err == "labels no/labels.ndjson cannot be written: No such file or directory\n"
