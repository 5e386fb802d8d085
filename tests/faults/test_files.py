"""A daemon that follows files is killed again and again while they are written and rotated."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from . import results
from .checker import Verdict
from .daemon import Daemon
from .rotating import Writer
from .scale import SCALE

PATIENCE_S = 120


class Folder:
    """A folder of logs, daemons that follow it, one after the other, and the store they fill."""

    def __init__(self, folder: Path, pattern: str) -> None:
        self.path = folder
        self.store = folder / "enricher.db"
        self._pipeline = folder / "files.yaml"
        source = {
            "paths": [str(folder / pattern)],
            "follow": True,
            "state": str(folder / "state" / "files"),
            "let_go_s": 2,
        }
        pipeline = {
            "name": "files",
            "sources": [{"file": source}],
            "stages": [{"json": {}}],
            "routes": [{"elasticsearch": {"index": "lines"}}],
        }
        self._pipeline.write_text(json.dumps(pipeline))
        self.daemon = self.start()

    def start(self) -> Daemon:
        options = ["--local", "--store", str(self.store)]
        options += ["--dead-letters", str(self.path / "dead.ndjson")]
        environment = os.environ | {"ENRICHER_ADMIN": "off"}
        self.begun_at = self.count()
        return Daemon(self._pipeline, environment, self.path / "log", *options)

    def restart(self) -> None:
        """Kill the daemon once it has written something, and start another."""
        self.until(lambda: self.count() > self.begun_at, "a sign of the daemon")
        assert self.daemon.is_running, self.logs
        self.daemon.kill()
        self.daemon = self.start()

    @property
    def logs(self) -> str:
        return (self.path / "log").read_text()[-3000:]

    def count(self) -> int:
        return len(self.ids())

    def ids(self) -> list[tuple[str, int]]:
        """Read the id and the number of every document."""
        try:
            with closing(sqlite3.connect(self.store, timeout=30)) as store:
                return store.execute("select id, document ->> 'number' from documents").fetchall()
        except sqlite3.OperationalError:  # not made yet
            return []

    def until(self, done: Callable[[], object], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < end, f"not {what}: {self.count()} there\n{self.logs}"
            time.sleep(0.02)


@pytest.fixture
def followed(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Folder]:
    made = Folder(tmp_path, request.param)
    yield made
    made.daemon.kill()


def kill_again_and_again(followed: Folder, writer: Writer) -> int:
    """Kill the daemon whenever so many lines are written; gives how many files were begun."""
    with writer:
        for kill in range(1, SCALE.file_kills + 1):
            due = kill * SCALE.file_lines // (SCALE.file_kills + 1)
            followed.until(partial(writer.has_written, due), f"{due} lines written")
            followed.restart()
        assert not writer.has_written(SCALE.file_lines), (
            "it was not killed while files were written"
        )
    return writer.rotated


def verdict_of(followed: Folder) -> Verdict:
    """Compare the numbers with those that were written."""
    found = followed.ids()
    numbers = Counter(number for _, number in found)
    wanted = set(range(SCALE.file_lines))
    return Verdict(
        sent=len(wanted),
        indexed=len(found),
        lost=[str(number) for number in wanted.difference(numbers)],
        twice=[str(number) for number, count in numbers.items() if count > 1],
        unknown=[str(number) for number in numbers if number not in wanted],
    )


@pytest.mark.parametrize("followed", ["app.log*"], indirect=True)
def test_a_daemon_is_killed_while_files_are_renamed(followed: Folder) -> None:
    """Every line is there once, whatever its file was called when it was read."""
    writer = Writer(followed.path, SCALE.file_lines, SCALE.seed, copies=False)
    rotated = kill_again_and_again(followed, writer)
    followed.until(lambda: followed.count() >= SCALE.file_lines, "all lines there")
    assert followed.daemon.stop() == 0, followed.logs
    verdict = verdict_of(followed)
    assert verdict.clean, f"{verdict}\n{followed.logs}"
    assert rotated > 10
    results.note(
        f"kill -9 of a daemon that follows files, {SCALE.file_kills} times; rotated by rename",
        verdict,
        kills=SCALE.file_kills,
        rotations=rotated,
    )


@pytest.mark.parametrize("followed", ["app.log*"], indirect=True)
def test_a_daemon_is_killed_while_files_are_copied_and_truncated(followed: Folder) -> None:
    """Nothing is lost, for the copies are read too: there, lines have the ids of the copy."""
    writer = Writer(followed.path, SCALE.file_lines, SCALE.seed + 1, copies=True)
    rotated = kill_again_and_again(followed, writer)
    followed.until(lambda: not verdict_of(followed).lost, "all lines there")
    assert followed.daemon.stop() == 0, followed.logs
    verdict = verdict_of(followed)
    assert not verdict.lost, f"{verdict}\n{followed.logs}"
    assert not verdict.unknown, verdict
    again, verdict.twice = len(verdict.twice), []  # a copy is another file, with ids of its own
    assert "begins anew" in (followed.path / "log").read_text(), "it never saw what was truncated"
    results.note(
        f"kill -9 of a daemon that follows files, {SCALE.file_kills} times; copied and truncated",
        verdict,
        kills=SCALE.file_kills,
        rotations=rotated,
        read_from_copies_again=again,
    )
