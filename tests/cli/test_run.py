"""`enricher run`: files into the local store, exactly once by id; a daemon that ends in order."""

from __future__ import annotations

import base64
import gzip
import re
import signal
import socket
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from enricher.generator import generate, hostile, users
from enricher.lines import read_records
from enricher.model import Record

from .program import (
    PAYMENTS,
    TINY,
    TINY_EVENTS,
    Daemon,
    Elasticsearch,
    Result,
    enricher,
    enricher_each,
    serving,
)

Rows = dict[tuple[str, str], dict[str, Any]]
FAST_S = 8.0
"""How long an orderly end may take on a busy machine; deadlines that must not count are longer."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with events, hostile records among them, and the users that Redis would know."""
    folder = tmp_path_factory.mktemp("run")
    records = [one.value for one in generate(600)] + [one.value for one in hostile(150)]
    lines = b"".join(value.replace(b"\n", b" ") + b"\n" for value in records)
    (folder / "events.ndjson").write_bytes(lines)
    (folder / "events.ndjson.gz").write_bytes(gzip.compress(lines))
    with (folder / "users.ndjson").open("wb") as out:
        for key, value in users():
            try:
                known = orjson.loads(value)
            except orjson.JSONDecodeError:
                known = value.decode(errors="replace")
            out.write(orjson.dumps({"key": key, "value": known}) + b"\n")
    return folder


@pytest.fixture(scope="module")
def dry(folder: Path) -> list[dict[str, Any]]:
    """What the dry-run says of the events, in their order."""
    result = enricher(
        *("dry-run", PAYMENTS, "events.ndjson", "--lookups", "users.ndjson"), folder=folder
    )
    assert (result.code, result.err) == (0, "")
    return result.lines


def local(folder: Path, *arguments: object, stdin: bytes = b"") -> Result:
    result = enricher(
        *("run", PAYMENTS, "--local", "--lookups", "users.ndjson", *arguments),
        folder=folder,
        stdin=stdin,
    )
    assert result.code == 0, result.err
    return result


def asked(store: Path, question: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(store)) as database:
        return database.execute(question).fetchall()


def stored(store: Path) -> Rows:
    """Give the documents of a store by index and id, but for the time of processing."""
    rows = asked(store, 'SELECT "index", id, document FROM documents')
    return {(index, name): timeless(orjson.loads(body)) for index, name, body in rows}


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    assert document.pop("processed_at")
    return document


def wanted(records: list[Record], lines: list[dict[str, Any]]) -> Rows:
    """Give what the store has to hold: of an id that a route named, the last document."""
    return {
        (line["index"], line["id"] or record.id): timeless(dict(line["document"]))
        for record, line in zip(records, lines, strict=True)
        if line["outcome"] == "document"
    }


def records_of(file: Path) -> list[Record]:
    return [record for batch in read_records(str(file)) for record in batch]


@pytest.fixture(scope="module")
def first(folder: Path) -> Result:
    """The run whose outcome several tests look at."""
    return local(folder, "events.ndjson")


def test_the_store_holds_what_the_dry_run_shows(
    folder: Path, first: Result, dry: list[dict[str, Any]]
) -> None:
    """Index, id and document of each record, and nothing else."""
    expected = wanted(records_of(folder / "events.ndjson"), dry)
    assert len(expected) > 600
    assert stored(folder / "enricher.db") == expected


def test_dead_letters_are_kept_as_they_came(
    folder: Path, first: Result, dry: list[dict[str, Any]]
) -> None:
    """Each with its stage, error and reason, and every byte of the record."""
    by_id = {
        record.id: (record.value, line["stage"], line["error"], line["reason"])
        for record, line in zip(records_of(folder / "events.ndjson"), dry, strict=True)
        if line["outcome"] == "dead_letter"
    }
    assert len(by_id) > 30
    letters = map(orjson.loads, (folder / "dead-letters.ndjson").read_bytes().splitlines())
    found = {
        letter["id"]: (
            letter["value"].encode()
            if "value" in letter
            else base64.b64decode(letter["value_base64"]),
            *(letter["stage"], letter["error"], letter["reason"]),
        )
        for letter in letters
    }
    assert found == by_id


def test_alerts_are_stored_and_the_first_are_printed(
    folder: Path, first: Result, dry: list[dict[str, Any]]
) -> None:
    """All of them with their text in the store; on standard error ten of each name."""
    fired = Counter(name for line in dry for name in line.get("alerts", ()))
    assert min(fired["HighRiskTransaction"], fired["PaymentProcessingError"]) > 10
    rows = asked(folder / "enricher.db", "SELECT name, summary FROM alerts")
    assert Counter(name for name, _ in rows) == fired
    printed = first.err.splitlines()
    for name in fired:
        lines = [line for line in printed if line.startswith(f"ALERT {name}: ")]
        assert len(lines) == 11
        assert lines.pop() == f"ALERT {name}: more of them are only counted"
        assert {line.removeprefix(f"ALERT {name}: ") for line in lines} <= {s for _, s in rows}
    assert len(printed) == 22


def test_the_summary_for_people(first: Result, dry: list[dict[str, Any]]) -> None:
    """Records, documents by index, alerts, dead letters by reason, events/s, cost by stage."""
    assert re.match(rf"{len(dry)} records in [0-9.]+ s, [0-9,]+ events/s\n", first.out)
    blocks = dict(block.split("\n", 1) for block in first.out.split("\n\n")[1:])
    assert list(blocks)[:3] == ["documents by index", "alerts", "dead letters"]
    counted = {
        title: {
            name: int(number.replace(",", ""))
            for name, number in re.findall(r"^  (\S.*\S) +([0-9,]+)$", blocks[title], re.MULTILINE)
        }
        for title in ("documents by index", "alerts", "dead letters")
    }
    letters = Counter(
        f"{one['stage']}: {one['error']}" for one in dry if one["outcome"] == "dead_letter"
    )
    assert counted["dead letters"] == letters
    assert counted["alerts"] == Counter(name for line in dry for name in line.get("alerts", ()))
    assert sum(counted["documents by index"].values()) + letters.total() == len(dry)
    assert set(counted["documents by index"]) >= {"payment-logs-*", "fraud-logs-*"}
    (cost,) = (block for title, block in blocks.items() if title.startswith("cost by stage (µs"))
    assert [line.split()[0] for line in cost.splitlines()[:3]] == ["json", "timestamp", "geoip"]
    assert "look into it: sqlite3 enricher.db 'select" in first.out


def test_a_second_run_adds_nothing(folder: Path, first: Result, dry: list[dict[str, Any]]) -> None:
    """Exactly once by id: the same rows, the same alerts; the summary is one line of JSON."""
    before = stored(folder / "enricher.db")
    alerts = asked(folder / "enricher.db", "SELECT * FROM alerts ORDER BY 1, 2")
    again = local(folder, "events.ndjson", "--format", "json")
    (summary,) = again.lines
    assert stored(folder / "enricher.db") == before
    assert asked(folder / "enricher.db", "SELECT * FROM alerts ORDER BY 1, 2") == alerts
    assert list(summary) == [
        *("records", "seconds", "events_per_second", "documents", "alerts"),
        *("outputs", "dead_letters", "dropped", "cost_by_stage_us"),
    ]
    assert summary["records"] == len(dry)
    assert summary["documents"] == Counter(one["index"] for one in dry if "index" in one)
    assert summary["dropped"] == {}
    assert list(summary["cost_by_stage_us"])[0] == "json"
    assert list(summary["cost_by_stage_us"])[-1] == "routes"


def test_gzip_and_standard_input(folder: Path, dry: list[dict[str, Any]]) -> None:
    """The same documents, whatever way the lines come."""
    summary = local(folder, "events.ndjson.gz", "--store", "gzip.db", "--format", "json").lines[0]
    assert summary["records"] == len(dry)
    expected = wanted(records_of(folder / "events.ndjson.gz"), dry)
    assert stored(folder / "gzip.db") == expected
    lines = (folder / "events.ndjson").read_bytes()
    local(folder, "-", "--store", "stdin.db", "--format", "json", stdin=lines)

    def bodies(rows: Rows) -> Counter[bytes]:
        sort = orjson.OPT_SORT_KEYS  # added fields come in any order
        return Counter(
            orjson.dumps([index, body], option=sort) for (index, _), body in rows.items()
        )

    assert bodies(stored(folder / "stdin.db")) == bodies(expected)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with the tiny pipeline and its events."""
    (tmp_path / "tiny.yaml").write_text(
        TINY + "sources:\n  - file: {paths: [tiny.ndjson]}\n  - file: {paths: [no], name: other}\n"
    )
    (tmp_path / "tiny.ndjson").write_bytes(TINY_EVENTS)
    return tmp_path


def test_sources_may_be_chosen(tiny: Path) -> None:
    """Those that are named are kept; a misspelt name is told; files stand in for all of them."""
    chosen = enricher(
        *("run", "tiny.yaml", "--local", "--source", "file", "--format", "json"), folder=tiny
    )
    assert (chosen.code, chosen.lines[0]["records"]) == (0, 7)
    assert chosen.lines[0]["dropped"] == {"drop": 1}
    misspelt = enricher("run", "tiny.yaml", "--local", "--source", "fiel", folder=tiny)
    assert misspelt == Result(
        2, "", 'no source "fiel" (did you mean "file"?); there are: file, other\n'
    )
    both = enricher("run", "tiny.yaml", "--local", "--source", "file", "tiny.ndjson", folder=tiny)
    assert (both.code, both.out) == (2, "")
    assert "FILES are read in place of the sources" in both.err


def test_options_that_would_be_ignored_or_hang(tiny: Path) -> None:
    """They are told, not ignored."""
    cases = (
        (("--local", "--connections", "c.yaml"), "--local stands in for --connections"),
        (("--lookups", "users.ndjson"), "--lookups needs --local"),
        (("--local", "--budget-mib", "0"), "0 is not in the range x>=1"),
        (("--local", "--drain-s", "-1"), "-1.0 is not in the range x>=0"),
    )
    results = enricher_each(
        (("run", "tiny.yaml", "tiny.ndjson", *words) for words, _ in cases), folder=tiny
    )
    for result, (_, message) in zip(results, cases, strict=True):
        assert (result.code, result.out) == (2, "")
        assert message in result.err


def test_what_hinders_a_start_is_one_line(tiny: Path) -> None:
    """Sources that need servers, files that are away or damaged, places that cannot be written."""
    (tiny / "broken").write_text('{"key": "a", "value": 1}\n[]\n')
    cases = (
        ((PAYMENTS, "--local"), r"source kafka needs connections\.kafka; with --local give files"),
        (
            ("tiny.yaml", "no", "--local"),
            r"no: cannot be read \(No such file or directory\); check",
        ),
        (("tiny.yaml", "-", "--local", "--store", "."), r"elasticsearch\.store: \. cannot be used"),
        (
            ("tiny.yaml", "-", "--local", "--dead-letters", "."),
            r"dead letters: \. cannot be opened",
        ),
        (("tiny.yaml", "-", "--local", "--lookups", "broken"), r"broken:2: write {\"key\": …"),
        (("tiny.yaml", "-"), r"connections\.elasticsearch is missing, and a route needs it"),
    )
    results = enricher_each((("run", *words) for words, _ in cases), folder=tiny)
    for result, (_, message) in zip(results, cases, strict=True):
        assert (result.code, result.out) == (2, "")
        assert re.search(message, result.err)
        assert result.err.count("\n") == 1


def test_what_comes_before_the_damage_is_settled(tiny: Path) -> None:
    """A file that ends too early is told at the end; the records before it are in the store."""
    (tiny / "torn.gz").write_bytes(gzip.compress(TINY_EVENTS * 1000)[:-20])
    torn, dry = enricher_each(
        (("run", "tiny.yaml", "torn.gz", "--local"), ("dry-run", "tiny.yaml", "torn.gz")),
        folder=tiny,
    )
    assert torn.code == dry.code == 2
    told = "torn.gz: the gzip data ends too early; what comes before was read; write the file anew"
    assert torn.err.splitlines()[-1].startswith(told)
    assert dry.err.startswith(told)
    ((count,),) = asked(
        tiny / "enricher.db", "SELECT count(*) FROM documents WHERE \"index\" = 'logs'"
    )
    assert count > 1000
    assert count == sum(line.get("index") == "logs" for line in dry.lines)


class Refuser:
    """A port of loopback that ends every connection; counts them."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def refuse(self, times: int) -> None:
        self.listener.settimeout(FAST_S)
        for _ in range(times):
            self.listener.accept()[0].close()


@pytest.fixture
def refuser() -> Iterator[Refuser]:
    """Give a port that is no server."""
    refuser = Refuser()
    with refuser.listener:
        yield refuser


@pytest.mark.parametrize("away", ["kafka", "elasticsearch"])
def test_a_server_that_is_away_is_waited_for(tmp_path: Path, refuser: Refuser, away: str) -> None:
    """Again and again, with one line in the log; SIGTERM ends that with exit code 0."""
    with serving() as server:
        environment = {
            "KAFKA_BROKERS": refuser.address if away == "kafka" else "127.0.0.1:9",
            "ELASTICSEARCH_URL": f"http://{refuser.address}" if away != "kafka" else server.url,
        }
        with Daemon("run", PAYMENTS, folder=tmp_path, environment=environment) as daemon:
            refuser.refuse(4)
            assert daemon.process.poll() is None
            daemon.terminate()
            assert daemon.wait(FAST_S) == 0
    text = daemon.text
    assert "Traceback" not in text
    assert "0 records in" in text
    lines = [line for line in text.splitlines() if away in line]
    assert len(lines) == 1
    entry = orjson.loads(lines[0])
    assert entry["level"] in ("warning", "error")
    assert refuser.address in entry["event"]
    assert "cannot be reached" in entry["event"]
    assert f"check connections.{away}" in entry["event"]


CONNECTED = "connections: {{elasticsearch: {{hosts: '{url}'}}}}\n"


def silent(folder: Path, server: Elasticsearch, events: bytes, *arguments: object) -> Daemon:
    """Start a run over a file whose sink does not answer, and wait until it is asked."""
    (folder / "p.yaml").write_text(TINY + CONNECTED.format(url=server.url))
    (folder / "events").write_bytes(events)
    server.answers_bulk = False
    daemon = Daemon("run", "p.yaml", "events", "--dead-letters", "dead", *arguments, folder=folder)
    assert server.asked_bulk.acquire(timeout=FAST_S), daemon.text
    return daemon


LATE = "the drain's deadline passed: what was not settled will be read again\n"


@pytest.mark.parametrize("copies", [1, 60_000], ids=["all read", "budget full"])
def test_the_drain_has_a_deadline(tmp_path: Path, copies: int) -> None:
    """SIGTERM while the sink is silent: exit code 1 in time, also where reading waits for room."""
    with (
        serving() as server,
        silent(
            *(tmp_path, server, TINY_EVENTS * copies, "--drain-s", 0.2, "--budget-mib", 1)
        ) as daemon,
    ):
        daemon.terminate()
        assert daemon.wait(FAST_S) == 1
        assert daemon.text.endswith(LATE)
        assert "0 records in" in daemon.text


def test_a_second_sigterm_ends_at_once(tmp_path: Path) -> None:
    """Whatever the deadline; what was not acknowledged is read again."""
    with (
        serving() as server,
        silent(tmp_path, server, TINY_EVENTS, "--drain-s", 600) as daemon,
    ):
        code = None
        for _ in range(100):  # two signals that are sent together may arrive as one
            daemon.process.send_signal(signal.SIGTERM)
            try:
                code = daemon.wait(0.1)
                break
            except subprocess.TimeoutExpired:
                continue
        assert code == 1
        assert daemon.text.endswith(
            "stopped at once; what was not acknowledged will be read again\n"
        )


def test_sigterm_settles_what_was_read(tmp_path: Path) -> None:
    """A pipe that stays open: its records are written, and the exit code is 0."""
    with serving() as server:
        (tmp_path / "p.yaml").write_text(TINY + CONNECTED.format(url=server.url))
        with Daemon(
            *("run", "p.yaml", "-", "--dead-letters", "dead", "--format", "json"),
            folder=tmp_path,
            stdin=subprocess.PIPE,
        ) as daemon:
            assert daemon.process.stdin is not None
            daemon.process.stdin.write(TINY_EVENTS)
            daemon.process.stdin.flush()
            assert server.asked_bulk.acquire(timeout=FAST_S), daemon.text
            daemon.terminate()
            assert daemon.wait(FAST_S) == 0
        summary = orjson.loads(daemon.text.splitlines()[-1])
        assert summary["records"] == 7
        assert summary["documents"] == {"big": 2, "logs": 2}
        assert len((tmp_path / "dead").read_bytes().splitlines()) == 2
