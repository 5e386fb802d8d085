"""Hostile values on real servers: each is a name, an id or a key as it is written, and no more."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import orjson
from redis import Redis

from ..cli.program import enricher
from ..hostile_values import HOSTILE

PIPELINE = """\
name: hostile
stages:
  - json: {{}}
  - lookup: {{key: "user:{{text}}", target: user}}
routes:
  - {{when: way == "name", elasticsearch: {{index: "{prefix}-{{text}}", allowed: {{text: [ok, fine]}}, id: "{{n}}"}}}}
  - {{when: way == "id", elasticsearch: {{index: "{prefix}-id", id: "{{text}}"}}}}
  - {{when: way == "time", elasticsearch: {{index: "{prefix}-time-{{text:%Y.%m}}", id: "{{n}}"}}}}
  - elasticsearch: {{index: "{prefix}-rest", id: "{{n}}"}}
dead_letters: {{file: dead-letters.ndjson}}
connections:
  elasticsearch: {{hosts: "${{ELASTICSEARCH_URL}}"}}
  redis: {{url: "${{REDIS_URL}}", timeout_ms: 5000}}
"""
MAX_KEY = 512
MAX_ID = 512
READS = {
    "mget",
    "get",
    "ping",
    "hello",
    "client",
    "info",
    "config",
    "command",
    "select",
    "exists",
    "dbsize",
}


def keys() -> dict[bytes, str]:
    """Give the keys that events may ask for, and the text of each."""
    found = {f"user:{text}".encode(): text for text in HOSTILE if text}
    return {key: text for key, text in found.items() if len(key) <= MAX_KEY}


def write_events(file: Path) -> list[dict[str, Any]]:
    """Write each text as the name of an index, as an id, and as the time in a name."""
    events = [
        {"n": f"{way}-{number}", "way": way, "text": text}
        for way in ("name", "id", "time", "rest")
        for number, text in enumerate(HOSTILE)
    ]
    file.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))
    return events


def stored(elasticsearch: Any, prefix: str) -> list[dict[str, Any]]:
    elasticsearch.request("POST", f"/{prefix}-*/_refresh")
    _, said = elasticsearch.request("GET", f"/{prefix}-*/_search?size=5000")
    found: list[dict[str, Any]] = said["hits"]["hits"]
    return found


def test_each_text_is_a_text_and_no_more(elasticsearch: Any, valkey: Any, tmp_path: Path) -> None:
    """Indices of the file alone, ids to the letter, values of exactly the keys that were asked."""
    prefix = f"hostile-{uuid.uuid4().hex[:8]}"
    fields = {
        "n": {"type": "keyword"},
        "text": {"type": "keyword", "index": False, "doc_values": False},
    }
    mappings = {"date_detection": False, "properties": {**fields, "user": {"type": "object"}}}
    template = {
        "index_patterns": [f"{prefix}-*"],
        "template": {"mappings": mappings, "settings": {"number_of_replicas": 0}},
    }
    assert elasticsearch.request("PUT", f"/_index_template/{prefix}", template)[0] == 200
    (tmp_path / "p.yaml").write_text(PIPELINE.format(prefix=prefix))
    events = write_events(tmp_path / "events.ndjson")
    environment = {"ELASTICSEARCH_URL": elasticsearch.url, "REDIS_URL": valkey.url}
    environment["PYTHONWARNINGS"] = "default"  # the connection to Redis is not closed at the end
    try:
        with Redis.from_url(valkey.url) as client:
            client.flushall()
            client.mset({key: orjson.dumps({"of": text}) for key, text in keys().items()})
            client.set("secret", b'{"of": "secret"}')
            size = client.dbsize()
            client.config_resetstat()
            done = enricher(
                "run", "p.yaml", "events.ndjson", folder=tmp_path, environment=environment
            )
            assert done.code == 0, done.err
            assert client.dbsize() == size
            assert client.get("secret") == b'{"of": "secret"}'
            commands = {
                name.removeprefix("cmdstat_").split("|")[0] for name in client.info("commandstats")
            }
        assert commands <= READS, commands - READS
        hits = stored(elasticsearch, prefix)
        check(hits, events, prefix)
    finally:
        elasticsearch.request("DELETE", f"/{prefix}-*")
        elasticsearch.request("DELETE", f"/_index_template/{prefix}")
    letters = tmp_path / "dead-letters.ndjson"
    assert letters.read_bytes() == b""


def check(hits: list[dict[str, Any]], events: list[dict[str, Any]], prefix: str) -> None:
    """Hold each document to its event: where it is, under which id, with which look-up."""
    known = keys()
    by_number = {hit["_source"]["n"]: hit for hit in hits}
    assert {hit["_index"].removeprefix(f"{prefix}-") for hit in hits} <= {
        *("ok", "fine", "id", "rest", "time-outofrange", "time-2025.10", "time-9999.12"),
    }
    assert len(hits) == len(events)
    for event in events:
        hit = by_number[event["n"]]
        source, text = hit["_source"], event["text"]
        assert source["text"] == text
        asked = f"user:{text}".encode()
        assert source.get("user") == ({"of": text} if asked in known else None), text
        if event["way"] == "id" and text and len(text.encode()) <= MAX_ID:
            assert hit["_id"] == text
        if event["way"] == "name":
            assert hit["_index"] == f"{prefix}-{text if text in ('ok', 'fine') else 'rest'}"
