"""`enricher dry-run`: the daemon's plan over a file, to the letter, in constant memory, offline."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest

from enricher.generator import generate

from .program import PAYMENTS, TINY, TINY_EVENTS, TINY_LINES, Result, enricher, surroundings

PEAK = """\
import atexit
def peak():
    with open("/proc/self/status") as lines, open("peak", "w") as out:
        out.write(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
atexit.register(peak)
"""
"""A sitecustomize that leaves the peak of resident memory, in KiB."""
OFFLINE = """\
import _socket, socket
def refuse(*_, **__):
    with open("used", "a") as out:
        out.write("network\\n")
    raise OSError("the network was used")
class Socket(socket.socket):
    connect = connect_ex = bind = sendto = refuse
socket.socket = socket.SocketType = Socket
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refuse
_socket.getaddrinfo = _socket.gethostbyname = refuse
"""
"""A sitecustomize without a network; whoever uses it is found out."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny pipeline and its events."""
    folder = tmp_path_factory.mktemp("dry-run")
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "tiny.ndjson").write_bytes(TINY_EVENTS)
    return folder


def text_of(lines: tuple[str, ...]) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_a_line_for_each_record_in_their_order(folder: Path) -> None:
    """The stable form, from standard input: no record is lost, blank lines are none."""
    result = enricher("dry-run", "tiny.yaml", folder=folder, stdin=TINY_EVENTS)
    assert result == Result(0, text_of(TINY_LINES), "")


def test_files_one_after_the_other(folder: Path) -> None:
    """Plain, gzip and `-`, in the order they are named."""
    first, *_, last = TINY_EVENTS.splitlines(keepends=True)
    (folder / "last.gz").write_bytes(gzip.compress(last))
    result = enricher(
        "dry-run", "tiny.yaml", "last.gz", "tiny.ndjson", "-", folder=folder, stdin=first
    )
    assert result == Result(0, text_of((TINY_LINES[-1], *TINY_LINES, TINY_LINES[0])), "")


def test_limit_and_strict(folder: Path) -> None:
    """A limit counts records of all files; `--strict` is 1 where a dead letter is among them."""
    two = enricher(
        *("dry-run", "tiny.yaml", "tiny.ndjson", "--limit", 2, "--strict"), folder=folder
    )
    assert two == Result(0, text_of(TINY_LINES[:2]), "")
    nine = enricher(
        *("dry-run", "tiny.yaml", "tiny.ndjson", "tiny.ndjson", "--limit", 9, "--strict"),
        folder=folder,
    )
    assert nine == Result(1, text_of((*TINY_LINES, *TINY_LINES[:2])), "2 dead letter(s)\n")


def test_for_people(folder: Path) -> None:
    """Index, id, alerts and the document; what a terminal would act on is escaped."""
    event = {"n": 2000, "id": "\x1b[2J\x9b", "t": "\x9b\u202e"}
    result = enricher(
        "dry-run", "tiny.yaml", "--format", "pretty", folder=folder, stdin=orjson.dumps(event)
    )
    assert result.code == 0
    assert result.out.splitlines()[:2] == [
        "→ big id \\x1b[2J\\x9b",
        "! Huge: \\x1b[2J\\x9b is 2000",
    ]
    assert all(line.isprintable() for line in result.out.splitlines())
    assert orjson.loads(result.out.partition("2000\n")[2].replace("\\x9b", "")) is not None


def test_bad_pipeline_and_bad_files(folder: Path) -> None:
    """Exit code 2, one line each, nothing on standard output."""
    (folder / "bad.yaml").write_text(TINY.replace("convert", "cnovert", 1))
    bad = enricher("dry-run", "bad.yaml", "tiny.ndjson", folder=folder)
    assert bad == Result(
        2,
        "",
        'bad.yaml:4:5: stages[1].cnovert: unknown stage "cnovert" (did you mean "convert"?)\n',
    )
    away = enricher("dry-run", "tiny.yaml", "no.ndjson", folder=folder)
    assert (away.code, away.out) == (2, "")
    assert away.err.startswith("no.ndjson: cannot be read (No such file or directory); check")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", 'broken.ndjson:2: write {"key": …, "value": …}, one a line\n'),
        ('{"key": 1}', 'broken.ndjson:2: write {"key": …, "value": …}, one a line\n'),
        ("[", 'broken.ndjson:2: write {"key": …, "value": …}, one a line\n'),
        (None, "lookups broken.ndjson cannot be read: No such file or directory\n"),
    ],
)
def test_broken_lookups(folder: Path, text: str | None, message: str) -> None:
    """The file and the line are named."""
    file = folder / "broken.ndjson"
    file.unlink(missing_ok=True)
    if text is not None:
        file.write_text(f'{{"key": "a", "value": 1}}\n{text}\n')
    result = enricher("dry-run", "tiny.yaml", "--lookups", file.name, folder=folder)
    assert result == Result(2, "", message)


EXPLAIN = """\
name: p
stages:
  - json: {}
  - lookup: {when: level == "INFO", key: "u:{u}", target: user}
  - rename: {fields: {a.b: c}}
  - convert: {field: n}
  - remove: {when: n > 5, fields: [level, u, c, n, user, a]}
  - drop: {when: gone}
routes:
  - elasticsearch: {index: logs}
"""
EXPLAINED = """\
record
  json  µs
    + level: "INFO"
    + u: 1
    + a.b: "x\\u2028"
    + n: "5"
  lookup  when: true  µs
    + user.tier: "gold"
  rename  µs
    - a.b: "x\\u2028"
    + a: {}
    + c: "x\\u2028"
  convert  µs
    ~ n: "5" → 5
  remove  when: false, skipped  µs
  drop  when: false, skipped  µs
  routes  µs
→ logs
{
  "level": "INFO",
  "u": 1,
  "a": {},
  "n": 5,
  "user": {
    "tier": "gold"
  },
  "c": "x\\u2028"
}

record
  json  µs
    + n: 6
    + level: "WARN"
  lookup  when: false, skipped  µs
  rename  µs
  convert  µs
  remove  when: true  µs
    - n: 6
    - level: "WARN"
  drop  when: false, skipped  µs
  routes  µs
→ logs
{}

record
  json  µs
    + gone: 1
  lookup  when: false, skipped  µs
  rename  µs
  convert  µs
  remove  when: false, skipped  µs
  drop  when: true  µs
- dropped at drop

record
  json  µs
✗ dead letter at json: NotAnObject
"""


def test_explain(folder: Path) -> None:
    """Each stage with its `when`, its time in µs and what it changed, field by field."""
    (folder / "explain.yaml").write_text(EXPLAIN)
    (folder / "users.ndjson").write_text('{"key": "u:1", "value": {"tier": "gold"}}\n')
    events = (
        '{"level":"INFO","u":1,"a":{"b":"x\u2028"},"n":"5"}\n'
        '{"n":6,"level":"WARN"}\n{"gone":1}\n[]\n'
    )
    result = enricher(
        *("dry-run", "explain.yaml", "--explain", "--lookups", "users.ndjson", "--strict"),
        folder=folder,
        stdin=events.encode(),
    )
    assert (result.code, result.err) == (1, "1 dead letter(s)\n")
    times = re.findall(r"  ([0-9]+\.[0-9]) µs", result.out)
    assert len(times) == 7 + 7 + 6 + 1
    text = re.sub(r"[0-9]+\.[0-9] µs", "µs", re.sub(r"record stdin-[0-9]+", "record", result.out))
    assert text.startswith(EXPLAINED)


def test_explain_is_no_format_for_programs(folder: Path) -> None:
    result = enricher("dry-run", "tiny.yaml", "--explain", "--format", "ndjson", folder=folder)
    assert (result.code, result.out) == (2, "")
    assert "leave --format ndjson out" in result.err


@pytest.mark.parametrize(
    "command",
    [
        ("dry-run", "tiny.yaml", "many.ndjson"),
        ("dry-run", "tiny.yaml", "many.ndjson", "--format", "pretty"),
        ("dry-run", "tiny.yaml", "many.ndjson", "--explain"),
        ("generate", "-n", "50000"),
        ("run", "console.yaml", "many.ndjson", "--dead-letters", "dead"),
    ],
    ids=lambda words: " ".join(words[:1] + words[3:]),
)
def test_a_reader_that_leaves(folder: Path, command: tuple[str, ...]) -> None:
    """As `| head` does: exit code 0, nothing on standard error."""
    (folder / "many.ndjson").write_bytes(TINY_EVENTS * 2000)
    (folder / "console.yaml").write_text("name: c\nstages: [json: {}]\nroutes: [console: {}]\n")
    with subprocess.Popen(
        [sys.executable, "-m", "enricher", *command],
        cwd=folder,
        env=surroundings({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        error = process.stderr.read().decode()
        assert (process.wait(20), error) == (0, "")


def test_output_is_utf_8_whatever_the_terminal(folder: Path) -> None:
    """A C locale changes no byte for programs; for people, what cannot be shown is escaped."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = enricher(
        "dry-run", "tiny.yaml", folder=folder, stdin=TINY_EVENTS, environment=ascii_only
    )
    assert result == Result(0, text_of(TINY_LINES), "")
    pretty = enricher(
        *("dry-run", "tiny.yaml", "--format", "pretty"),
        folder=folder,
        stdin=b'{"n":101,"id":"\xe2\x82\xb9"}',
        environment={"PYTHONIOENCODING": "latin-1"},
    )
    assert pretty.code == 0
    assert pretty.out.startswith("\\u2192 big id \\u20b9\n")


class Site(NamedTuple):
    """A folder whose sitecustomize every Python starts with."""

    folder: Path

    def environment(self, text: str) -> dict[str, str]:
        (self.folder / "sitecustomize.py").write_text(text)
        return {"PYTHONPATH": str(self.folder)}


def test_no_network_is_used(folder: Path, tmp_path: Path) -> None:
    """Not by dry-run, check and test, whatever servers the pipeline names; others are found out."""
    environment = Site(tmp_path).environment(OFFLINE)
    (folder / "payments.ndjson").write_bytes(b"\n".join(event.value for event in generate(200)))
    servers = {
        "KAFKA_BROKERS": "kafka.example.com:9092",
        "ELASTICSEARCH_URL": "https://es.example.com:9200",
        "REDIS_URL": "rediss://redis.example.com:6379",
    }
    quiet = environment | servers
    done = enricher("dry-run", PAYMENTS, "payments.ndjson", folder=folder, environment=quiet)
    assert (done.code, done.err) == (0, "")
    assert {line["outcome"] for line in done.lines} == {"document"}
    assert len(done.lines) == 200
    assert enricher("check", PAYMENTS, folder=folder, environment=quiet).code == 0
    assert enricher("test", PAYMENTS, folder=folder, environment=quiet).code == 0
    assert not (folder / "used").exists()
    away = enricher("templates", "install", PAYMENTS, folder=folder, environment=environment)
    assert away.code == 2
    assert (folder / "used").exists()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A file of 200 MB takes no more than one of 2 MB and a margin."""
    environment = Site(tmp_path).environment(PEAK)
    block = b"".join(event.value.replace(b"\n", b" ") + b"\n" for event in generate(3_800))
    assert 1.9e6 < len(block) < 3.0e6
    (tmp_path / "tiny.yaml").write_text(TINY)
    peaks = []
    for name, copies in (("small", 1), ("large", 200_000_000 // len(block))):
        file = tmp_path / name
        with file.open("wb") as out:
            for _ in range(copies):
                out.write(block)
        done = subprocess.run(
            [sys.executable, "-m", "enricher", "dry-run", "tiny.yaml", str(file)],
            cwd=tmp_path,
            env=surroundings(environment),
            stdout=subprocess.DEVNULL,
            timeout=120,
        )
        file.unlink()
        assert done.returncode == 0
        peaks.append(int((tmp_path / "peak").read_text()) / 1024)
    assert peaks[1] <= peaks[0] + 30, f"MiB: {peaks}"
