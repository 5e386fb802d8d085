"""`enricher backtest`: history through the rules, for people and for programs."""

from __future__ import annotations

import gzip
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from ..backtest.histories import ABROAD, BAD, HARMLESS, LARGE, NIGHT, RULES, WORST, payment, write
from .program import PAYMENTS, TINY, enricher, enricher_each, surroundings

KINDS = [HARMLESS] * 5 + [NIGHT, LARGE, ABROAD, BAD, WORST]
EVENTS = [*(payment(n, **fields) for n, fields in enumerate(KINDS)), payment(10, kind="noise")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a pipeline, a changed one, history and labels."""
    (tmp_path / "tiny.yaml").write_text(RULES)
    (tmp_path / "new.yaml").write_text(RULES.replace("add: 5", "add: 30"))
    write(tmp_path / "history", EVENTS)
    write(tmp_path / "labels", [{"id": "p8", "fraud": True}, {"id": "p1", "fraud": True}])
    return tmp_path


TABLE = """\
tiny: 11 events in
from 2025-10-20T00:00:00+00:00 to 2025-10-20T00:00:10+00:00
2 labels of id say fraud, 2 of them in the history

risk → score: 10 events scored (90.9 %)
  rule              points  hits   share  mean score  precision  recall  scores
  large ({amount})      10     3  30.0 %       23.33     33.3 %  50.0 %       ▄         █
  at night               5     2  20.0 %        17.5      0.0 %   0.0 %    █            █
  abroad                20     3  30.0 %       26.67     33.3 %  50.0 %            ▄    █

"""


def test_figures_for_people(folder: Path) -> None:
    """The rules, the scores, the levels and the curve; no colours where there is no terminal."""
    result = enricher("backtest", "tiny.yaml", "history", "--labels", "labels", folder=folder)
    assert (result.code, result.err) == (0, "")
    first, _, rest = result.out.partition("\n")
    table = TABLE.split("\n", 1)
    assert first.startswith(table[0])
    assert rest.startswith(table[1])
    assert "  high (≥ 25)         2  20.0 %      1         1     50.0 %   50.0 %  50.0 %\n" in rest
    assert "  at least  chosen  precision   recall      F1  false positives\n" in rest
    assert "\nalerts (nobody was told)\n  Risky  2\n" in rest
    assert "\ndropped\n  drop  1\n" in rest
    assert "\x1b" not in result.out


def test_figures_for_programs(folder: Path) -> None:
    """One object, whose names are stable."""
    arguments = ("backtest", "tiny.yaml", "history", "--format", "json")
    plain, labelled = enricher_each(
        (arguments, (*arguments, "--labels", "labels", "--against", "new.yaml")), folder=folder
    )
    (figures,) = plain.lines
    assert list(figures) == [
        *("pipeline", "files", "events", "late", "first", "last", "seconds", "events_per_second"),
        *(
            "documents",
            "alerts",
            "outputs",
            "dead_letters",
            "dropped",
            "labels",
            "scores",
            "against",
        ),
    ]
    assert (figures["events"], figures["labels"], figures["against"]) == (11, None, None)
    assert figures["documents"] == {"critical-*": 2, "logs-*": 8}
    (score,) = figures["scores"]
    assert [rule["hits"] for rule in score["rules"]] == [3, 2, 3]
    assert score["distribution"][0] == {"score": 0, "count": 5, "frauds": 0}
    (figures,) = labelled.lines
    assert figures["scores"][0]["levels"][0]["quality"]["precision"] == 0.5
    assert figures["against"]["changed"] == 2 - 1  # the worst has the cap's score already
    assert figures["against"]["moves"]["risk"][-1] == {
        "old": "not scored",
        "new": "not scored",
        "count": 1,
    }
    (example,) = figures["against"]["examples"]
    assert example["scores"] == {"risk": {"old": 5, "new": 30}}
    assert {"path": "event.review", "new": True} in example["differences"]


def test_a_line_an_event(folder: Path) -> None:
    """Each scored one or, against another file, each that would change; in order of time."""
    write(folder / "history", EVENTS[::-1])
    arguments = ("backtest", "tiny.yaml", "history", "--format", "ndjson")
    scored, labelled, changed = enricher_each(
        (arguments, (*arguments, "--labels", "labels"), (*arguments, "--against", "new.yaml")),
        folder=folder,
    )
    assert len(scored.lines) == 10
    assert scored.lines[9]["scores"] == {
        "risk": {
            "score": 30,
            "level": "high (≥ 25)",
            "rules": ["large ({amount})", "at night", "abroad"],
        }
    }
    assert [one["time_ms"] for one in scored.lines] == sorted(
        one["time_ms"] for one in scored.lines
    )
    assert [one["label"] for one in labelled.lines if one["fraud"]] == ["p1", "p8"]
    (line,) = changed.lines
    assert list(line) == ["id", "time_ms", "label", "scores", "differences"]
    assert {"path": "index", "old": "logs-2025.10.20", "new": "critical-2025.10.20"} in line[
        "differences"
    ]


def test_exit_codes(folder: Path) -> None:
    """0: done. 1: asked for, and the answer is no. 2: it could not be done, and why."""
    base = ("backtest", "tiny.yaml", "history")
    commands = [
        (*base, "--against", "new.yaml"),
        (*base, "--against", "new.yaml", "--fail-if-changed"),
        (*base, "--against", "tiny.yaml", "--fail-if-changed"),
        (*base, "--fail-if-changed"),
        (*base, "--label-field", "id"),
        (*base, "--labels", "none"),
        (*base, "--lookups", "none"),
        (*base, "--report", "no/report.html"),
        ("backtest", "tiny.yaml", "nothing"),
        ("backtest", "broken.yaml", "history"),
    ]
    (folder / "broken.yaml").write_text(RULES.replace("target", "tarket"))
    results = enricher_each(commands, folder=folder)
    assert [result.code for result in results] == [0, 1, 0, 2, 2, 2, 2, 2, 2, 2]
    said = [result.err for result in results]
    assert said[:3] == ["", "", ""]
    assert "--fail-if-changed needs --against" in said[3]
    assert "--label-field needs --labels" in said[4]
    assert said[5] == "labels none cannot be read: No such file or directory\n"
    assert "report no/report.html cannot be written: No such file" in said[7]
    assert "nothing: cannot be read (No such file or directory)" in said[8]
    assert 'unknown field "tarket" (did you mean "target"?)' in said[9]


def test_standard_input_gzip_and_limit(folder: Path) -> None:
    raw = (folder / "history").read_bytes()
    (folder / "history.gz").write_bytes(gzip.compress(raw))
    arguments = ("backtest", "tiny.yaml", "--format", "json")
    piped = enricher(*arguments, folder=folder, stdin=raw)
    zipped = enricher(*arguments, "history.gz", "--limit", 3, folder=folder)
    assert piped.lines[0]["events"] == 11
    assert (zipped.lines[0]["events"], zipped.lines[0]["last"][-8:]) == (3, "02+00:00"[-8:])


def test_what_is_late_is_said(folder: Path) -> None:
    """Beyond the bound it goes through when it comes, and is counted."""
    events = [payment(n) for n in range(3_000)]
    write(folder / "history", [*events, payment(5)])
    early, late = enricher_each(
        (
            ("backtest", "tiny.yaml", "history"),
            ("backtest", "tiny.yaml", "history", "--lateness", 3_600, "--format", "json"),
        ),
        folder=folder,
    )
    assert "1 came too late to be put in order" in early.out
    assert late.lines[0]["late"] == 0


def test_a_pipeline_without_scores_counts_what_there_is(folder: Path) -> None:
    (folder / "tiny.yaml").write_text(TINY)
    write(folder / "history", [{"n": 2_000, "id": "\x1b[2J"}, b"no JSON", {"s": "text"}])
    (folder / "new.yaml").write_text(TINY.replace("n > 1000", "n > 5000"))
    result = enricher("backtest", "tiny.yaml", "history", "--against", "new.yaml", folder=folder)
    assert "alerts that would be gone\n  Huge  1\n" in result.out
    assert "dead letters\n  json: NotJson    1\n  strict: Failure  1\n" in result.out
    assert "\x1b" not in result.out


def test_the_report_is_a_file(folder: Path) -> None:
    arguments = ("--labels", "labels", "--against", "new.yaml", "--report", "report.html")
    result = enricher("backtest", "tiny.yaml", "history", *arguments, folder=folder)
    assert result.code == 0
    report = (folder / "report.html").read_text()
    assert report.startswith("<!doctype html>")
    assert report.count("<svg") == 3


def test_the_shipped_pipeline_on_generated_fraud(tmp_path: Path) -> None:
    """As the help shows it: every label is met, look-ups answer, the best precision is at the top."""
    generated, users = enricher_each(
        (
            ("generate", "--fraud", 0.05, "-n", 4_000, "--labels", "labels"),
            ("generate", "--users"),
        ),
        folder=tmp_path,
    )
    (tmp_path / "history").write_text(generated.out)
    (tmp_path / "users").write_text(users.out)
    arguments = ("--labels", "labels", "--lookups", "users", "--format", "json")
    (figures,) = enricher("backtest", PAYMENTS, "history", *arguments, folder=tmp_path).lines
    assert figures["labels"] == {"field": "payment_id", "frauds": 200, "in_history": 200}
    (score,) = figures["scores"]
    assert all(rule["hits"] > 0 for rule in score["rules"])
    base = score["frauds"] / score["scored"]
    assert score["levels"][0]["quality"]["precision"] > 5 * base
    assert figures["alerts"] == {"HighRiskTransaction": score["levels"][0]["count"]}
    assert figures["dead_letters"] == {}


def test_progress_and_colours_are_for_terminals(folder: Path) -> None:
    """On one, both are there; the result stands alone on standard output."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "enricher", "backtest", "tiny.yaml", "history"],
        cwd=folder,
        env=surroundings({"TERM": "xterm-256color"}),
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # how a terminal ends
        pass
    os.close(ours)
    assert process.wait(30) == 0
    assert b"11 events" in shown
    assert b"\x1b[1mrisk" in shown
