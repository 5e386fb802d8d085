"""`enricher generate`: the same events for the same seed, as many as wanted."""

from __future__ import annotations

from pathlib import Path

import orjson

from enricher.cli.generate import TOPICS
from enricher.generator import generate, hostile
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
