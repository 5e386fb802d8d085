"""`enricher dlq` on a local file: refused records are looked at, replayed, purged."""

from __future__ import annotations

import os
import pty
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from enricher.dead_letters.letter import Cut, to_line

from ..dead_letters.letters import letter
from .program import TINY, TINY_EVENTS, Result, enricher, surroundings

REPAIRED = TINY.replace("on_error: dead_letter", "on_error: tag")
CONNECTIONS = "elasticsearch: {store: enricher.db}\n"
LETTERS = ("--dead-letters", "dead-letters.ndjson")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder after a local run that refused two records."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "events.ndjson").write_bytes(TINY_EVENTS)
    (tmp_path / "connections.yaml").write_text(CONNECTIONS)
    done = enricher("run", "tiny.yaml", "events.ndjson", "--local", folder=tmp_path)
    assert done.code == 0, done.err
    return tmp_path


def dlq(folder: Path, command: str, *arguments: str) -> Result:
    return enricher("dlq", command, "tiny.yaml", *LETTERS, *arguments, folder=folder)


def in_terminal(folder: Path, *arguments: str, answer: bytes = b"") -> tuple[int, str]:
    """Run a command on a terminal; give its exit code and what it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "enricher", "dlq", *arguments],
        cwd=folder, env=surroundings({}), stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, answer)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65_536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    return process.wait(30), shown.decode()


def test_local_letters_are_counted_shown_and_replayed(folder: Path) -> None:
    """The repaired pipeline writes the record under its own id; what fails again stays."""
    (whole,) = dlq(folder, "list", "--format", "json").lines
    assert whole["dead_letters"] == 2
    kinds = {kind["stage"]: kind for kind in whole["kinds"]}
    assert kinds["json"]["reason"].startswith("not JSON: invalid literal, expected …")
    assert kinds["strict"]["pipeline"].startswith("tiny@")
    assert kinds["strict"]["first"] == kinds["strict"]["last"]
    strict = kinds["strict"]["example"]
    text = dlq(folder, "list").out
    assert "1  strict: Failure" in text
    assert text.endswith("2 dead letters of tiny in dead-letters.ndjson\n")
    shown = dlq(folder, "show", strict).out
    assert '    {"s":"text"}\n' in shown
    assert "reason     s is no number: 'text'" in shown

    (folder / "tiny.yaml").write_text(REPAIRED)
    tried = dlq(folder, "replay", "--dry-run", "--id", strict)
    assert (tried.code, tried.out.splitlines()[0]) == (0, strict)
    assert "1 would settle" in tried.err
    done = dlq(folder, "replay", "--connections", "connections.yaml")
    assert done.code == 1
    assert "1  settled and removed" in done.out
    assert "1  failed again and stay" in done.out
    assert "json: NotJson: not JSON" in done.out
    with closing(sqlite3.connect(folder / "enricher.db")) as store:
        query = "select count(*), max(document) from documents where id = ?"
        count, document = store.execute(query, [strict]).fetchone()
    assert count == 1
    assert orjson.loads(document)["s"] == "text"
    left = dlq(folder, "show", "--format", "ndjson").lines
    assert [one["stage"] for one in left] == ["json"]
    assert dlq(folder, "purge", "--stage", "json").out.startswith("1 dead letter removed")
    assert dlq(folder, "list").out == "0 dead letters of tiny in dead-letters.ndjson\n"


def test_cut_letter_is_passed_over(folder: Path) -> None:
    """It is not all of the record: it stays, and the exit code tells."""
    cut = letter(1, value=b'{"n": 1}', cut=Cut(9_000_000, "ab12"), pipeline="tiny@1")
    (folder / "dead-letters.ndjson").write_bytes(to_line(cut))
    for option in ((), ("--dry-run",)):
        done = dlq(folder, "replay", "--connections", "connections.yaml", *option)
        assert done.code == 1
        assert "cut" in done.out + done.err
    assert (
        "8 bytes of 9,000,000: cut, it cannot be replayed; sha256 ab12" in dlq(folder, "show").out
    )
    with closing(sqlite3.connect(folder / "enricher.db")) as store:
        query = "select count(*) from documents where id = ?"
        assert store.execute(query, [cut.id]).fetchone() == (0,)


def test_mistakes_are_told_in_a_line(folder: Path) -> None:
    for arguments, said in (
        (("list", "--since", "yesterday"), "2025-10-20T15:45+05:30"),
        (("list", "--limit", "0"), "--limit"),
        (("purge",), "give --yes, or a filter"),
    ):
        done = dlq(folder, *arguments)
        assert done.code == 2
        assert said in done.err
    missing = enricher("dlq", "list", "tiny.yaml", "--dead-letters", "no.ndjson", folder=folder)
    assert (missing.code, missing.err) == (
        2, "dead letters: no.ndjson cannot be read: No such file or directory\n",
    )  # fmt: skip
    unknown = dlq(folder, "show", "x")
    assert (unknown.code, unknown.err) == (1, "no dead letter x in dead-letters.ndjson\n")


def test_letters_of_another_pipeline_are_named(folder: Path) -> None:
    """A pipeline that was renamed finds none of its letters, and can see why."""
    (folder / "tiny.yaml").write_text(TINY.replace("name: tiny", "name: small", 1))
    done = dlq(folder, "list")
    assert done.out.startswith("0 dead letters of small")
    assert "letters of tiny are there too" in done.err


@pytest.mark.parametrize("output", ["text", "ndjson"])
def test_no_byte_of_a_letter_acts_on_a_terminal(folder: Path, output: str) -> None:
    """Escape sequences, C1 controls and marks that turn writing around are shown as escapes."""
    evil = "\x1b]0;title\x07\x9b31m\u202e\x7f"
    record = letter(1, id=f"id{evil}", value=f"v{evil}".encode(), stream=evil, key=evil.encode())
    one = record._replace(pipeline="tiny@1")
    one = one._replace(dead=one.dead._replace(reason=evil, stage=evil, error=evil))
    (folder / "dead-letters.ndjson").write_bytes(to_line(one))
    for command in ("show", "list"):
        code, shown = in_terminal(folder, command, "tiny.yaml", *LETTERS, "--format", output)
        assert code == 0
        assert not {"\x1b]", "\x07", "\x9b", "\u202e", "\x7f"} & {
            *shown,
            *map("".join, pairwise(shown)),
        }
        assert "202e" in shown


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 2), (b"y\n", 0)])
def test_purge_asks_on_a_terminal(folder: Path, answer: bytes, left: int) -> None:
    """Nothing is removed unless the answer is yes."""
    code, shown = in_terminal(folder, "purge", "tiny.yaml", *LETTERS, answer=answer)
    assert "remove 2 dead letters of tiny in dead-letters.ndjson for good?" in shown
    assert (code == 0) is (left == 0)
    assert len((folder / "dead-letters.ndjson").read_bytes().splitlines()) == left


MASKED = (
    TINY.replace("  - drop:", "  - mask: {fields: {vpa: vpa}, scan: [card, phone]}\n  - drop:")
    + "dead_letters: {mask: true}\n"
)
PERSONAL = b"""\
{"s":"card 4111 1111 1111 1111","vpa":"not an address","x":1}
{"s":"nothing","x":2}
broken 4111111111111111 and +91 98765 43210
{"message":"of 4111-1111-1111-1111","vpa":"rakeshsh@okaxis"}
"""
SECRETS = ("4111 1111", "4111111", "4111-1111", "98765", "rakesh", "not an address")


def test_masked_letters_show_nothing_and_are_not_replayed(tmp_path: Path) -> None:
    """Value and reason, end to end; what nothing was hidden in is replayed as ever."""
    (tmp_path / "tiny.yaml").write_text(MASKED)
    (tmp_path / "events.ndjson").write_bytes(PERSONAL)
    (tmp_path / "connections.yaml").write_text(CONNECTIONS)
    ran = enricher("run", "tiny.yaml", "events.ndjson", "--local", folder=tmp_path)
    assert ran.code == 0, ran.err
    queue = tmp_path / "dead-letters.ndjson"
    shown = dlq(tmp_path, "show")
    everything = queue.read_text() + (tmp_path / "enricher.db").read_bytes().decode("latin1")
    everything += shown.out + dlq(tmp_path, "list").out + ran.out + ran.err
    assert not [secret for secret in SECRETS if secret in everything]
    assert shown.out.count("personal data is masked, it cannot be replayed") == 2
    assert "reason     s is no number: …" in shown.out
    letters = [orjson.loads(line) for line in queue.read_bytes().splitlines()]
    assert [one.get("masked", False) for one in letters] == [True, False, True]
    assert orjson.loads(letters[0]["value"]) == {
        "s": "card **** **** **** 1111",
        "vpa": "*** ** *******",
        "x": 1,
    }

    (tmp_path / "tiny.yaml").write_text(MASKED.replace("on_error: dead_letter", "on_error: tag"))
    tried = dlq(tmp_path, "replay", "--dry-run")
    assert tried.code == 1
    assert "1 would settle, 0 would fail again, 0 cut, 2 masked" in tried.err
    done = dlq(tmp_path, "replay", "--connections", "connections.yaml")
    assert done.code == 1
    assert "1  settled and removed" in done.out
    assert "2  were masked: they cannot be replayed, and stay; read their records again" in done.out
    (figures,) = dlq(
        tmp_path, "replay", "--connections", "connections.yaml", "--format", "json"
    ).lines
    assert (figures["dead_letters"], figures["masked"], figures["settled"]) == (2, 2, 0)
    backup = dlq(tmp_path, "show", "--format", "ndjson").out
    assert [orjson.loads(line)["masked"] for line in backup.splitlines()] == [True, True]
    with closing(sqlite3.connect(tmp_path / "enricher.db")) as store:
        documents = [row[0] for row in store.execute("select document from documents")]
    assert len(documents) == 2
    assert not any(secret in str(documents) for secret in SECRETS)
