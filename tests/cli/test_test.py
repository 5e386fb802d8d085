"""`enricher test` runs the tests of a pipeline file and shows what is otherwise."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from enricher.build import build
from enricher.cli import cli
from enricher.config import load
from enricher.given import DEFAULT_TIMESTAMP
from enricher.inline_tests import prepare, run_tests
from enricher.model import ConfigError

HEAD = """\
name: p
stages:
  - json: {}
  - timestamp: {field: at, timezone: Asia/Kolkata}
  - drop: {when: a == "drop"}
  - convert: {field: n}
  - convert: {name: strict, field: s, on_error: dead_letter}
  - lookup: {key: "u:{id}", target: user}
  - set: {fields: {now: "{$now}", text: "at {$now}"}}
routes:
  - when: a == "named"
    elasticsearch: {index: named, id: "{id}"}
  - elasticsearch: {index: "logs-{@timestamp:%Y.%m.%d}"}
alerts:
  - {name: Big, when: n > 5, summary: big}
tests:
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["test", *arguments])


def pipeline(folder: Path, tests: str) -> str:
    file = folder / "p.yaml"
    file.write_text(HEAD + tests)
    return str(file)


def differences(folder: Path, given: str, expect: str, rest: str = "") -> list[tuple[Any, ...]]:
    """Run one test; give its differences."""
    file = Path(pipeline(folder, f"  - {{name: t, given: {given}, expect: {expect}{rest}}}\n"))
    (result,) = asyncio.run(run_tests(load(file, {})))
    return [tuple(difference) for difference in result.differences]


def test_passes_and_fails(tmp_path: Path) -> None:
    """A line each; a failure with its place and what is otherwise; exit code 1."""
    file = pipeline(
        tmp_path,
        "  - {name: fine, given: {n: '5'}, expect: {event: {n: 5}}}\n"
        "  - name: wrong\n    given: {n: 9, o: {a: 1}}\n"
        "    expect: {index: logs, event: {n: '9', o.a: 2, x: 1}, absent: [n], alerts: [],"
        " tags: []}\n",
    )
    result = run(file)
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "ok      fine",
        "FAILED  wrong",
        f"        {file}:18",
        "        index",
        '        - "logs"',
        '        + "logs-2025.10.20"',
        "        alerts",
        "        - []",
        '        + ["Big"]',
        "        tags",
        "        - []",
        '        + ["_timestamp_failure"]',
        "        event.n",
        '        - "9"',
        "        + 9",
        "        event.o.a",
        "        - 2",
        "        + 1",
        "        event.x",
        "        - 1",
        "        + (absent)",
        "        event.n",
        "        - (absent)",
        "        + 9",
        f"{file}: 1 passed, 1 failed",
    ]
    lines = [orjson.loads(line) for line in run(file, "--format", "json").output.splitlines()]
    assert [line["passed"] for line in lines] == [True, False]
    assert lines[0] == {
        "pipeline": file,
        "test": "fine",
        "place": f"{file}:17",
        "passed": True,
        "differences": [],
    }
    assert {"path": "event.x", "expected": 1} in lines[1]["differences"]
    only = run(file, "-k", "FIN")
    assert (only.exit_code, only.output) == (0, f"ok      fine\n{file}: 1 passed\n")


def test_without_tests(tmp_path: Path) -> None:
    """A pipeline without tests is no failure."""
    result = run(pipeline(tmp_path, "  []\n"))
    assert result.exit_code == 0
    assert "no tests" in result.output


def test_bad_pipeline(tmp_path: Path) -> None:
    """The mistakes go up, for exit code 2."""
    result = run(pipeline(tmp_path, "  - {nme: t}\n"))
    assert isinstance(result.exception, ConfigError)
    assert 'unknown field "nme" (did you mean "name"?)' in str(result.exception)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("given: {}, expect: {event: {now: x}}", "now is the time of processing"),
        ("given: {}, expect: {event: {text: x}}", "text is the time of processing"),
        ("given: {}, expect: {absent: ['a..b']}", "is no field path"),
        ("given: {}, expect: {event: {'a b': 1}}", "is no field path"),
        ("given: {}, expect: {dead_letter: {reson: x}}", 'unknown field "reson"'),
        ("given: {}, timestamp: yesterday, expect: {}", "no timestamp"),
    ],
)
def test_tests_that_cannot_be(tmp_path: Path, test: str, message: str) -> None:
    """What no test can mean is a mistake of the file, with its place."""
    result = run(pipeline(tmp_path, f"  - {{name: t, {test}}}\n"))
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)
    assert "p.yaml:17:" in str(result.exception)


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        ("{n: 5}", "{event: {n: 5.0}}"),
        ("{n: 1}", "{event: {n: 1}, alerts: []}"),
        ("{o: {a: 1, b: [1, {c: null}]}}", "{event: {o: {a: 1}}}"),
        ("{o: {a: 1, b: [{c: null}]}}", "{event: {o.b: [{c: null}], o.a: 1}, absent: [o.x, y.z]}"),
        ("{x: null}", "{event: {x: null}}"),
        ("{'a.b': 1}", "{event: {'[\"a.b\"]': 1}}"),
        ("{a: drop}", "{dropped: true}"),
        ("{s: x}", "{dead_letter: {stage: strict, error: Failure, reason: no number}}"),
        ("{s: x}", "{dead_letter: {}}"),
        ("'{'", "{dead_letter: {stage: json, error: NotJson}}"),
        ("'[1]'", "{dead_letter: {stage: json, error: NotAnObject}}"),
        ("''", "{dead_letter: {stage: json}}"),
        ("[1]", "{dead_letter: {stage: json, error: NotAnObject}}"),
        ("{a: named, id: mine}", "{index: named, id: mine}"),
        ("{a: named}", "{index: named, id: test}"),
        ("{n: '٣'}", "{event: {n: '٣'}, tags: [_timestamp_failure, _convert_failure]}"),
        ("{}", "{}"),
    ],
)
def test_what_is_the_same(tmp_path: Path, given: str, expect: str) -> None:
    assert differences(tmp_path, given, expect) == []


@pytest.mark.parametrize(
    ("given", "expect", "path"),
    [
        ("{n: 1}", "{event: {n: true}}", "event.n"),
        ("{x: false}", "{event: {x: 0}}", "event.x"),
        ("{x: [1, 2]}", "{event: {x: [1]}}", "event.x"),
        ("{x: [true]}", "{event: {x: [1]}}", "event.x"),
        ("{x: [{a: 1, b: 2}]}", "{event: {x: [{a: 1}]}}", "event.x"),
        ("{}", "{event: {x: null}}", "event.x"),
        ("{x: null}", "{absent: [x]}", "event.x"),
        ("{o: {a: 1}}", "{event: {o: {a: 1, b: 2}}}", "event.o.b"),
        ("{o: text}", "{event: {o: {a: 1}}}", "event.o"),
        ("{o: text}", "{event: {o.a: 1}}", "event.o.a"),
        ("{}", "{dropped: true}", "outcome"),
        ("{}", "{dead_letter: {}}", "outcome"),
        ("{a: drop}", "{event: {a: drop}}", "outcome"),
        ("{a: drop}", "{dead_letter: {}}", "outcome"),
        ("{s: x}", "{}", "outcome"),
        ("{s: x}", "{dead_letter: {stage: json}}", "dead_letter.stage"),
        ("{s: x}", "{dead_letter: {reason: other}}", "dead_letter.reason"),
        ("{}", "{id: other}", "id"),
        ("{}", "{alerts: [Big]}", "alerts"),
        ("{at: '2025-10-20'}", "{tags: [x]}", "tags"),
    ],
)
def test_what_is_otherwise(tmp_path: Path, given: str, expect: str, path: str) -> None:
    assert [difference[0] for difference in differences(tmp_path, given, expect)] == [path]


def test_lookups_answer_from_the_test_alone(tmp_path: Path) -> None:
    """Objects as JSON, texts as they are; the next test knows nothing of them."""
    file = pipeline(
        tmp_path,
        "  - {name: a, given: {id: 1}, lookups: {'u:1': {x: 1}}, expect: {event: {user: {x: 1}}}}\n"
        "  - {name: b, given: {id: 1}, expect: {absent: [user]}}\n"
        "  - {name: c, given: {id: 1}, lookups: {'u:1': '{\"x\": 1'}, expect:"
        " {absent: [user], tags: [_timestamp_failure, _lookup_failure]}}\n",
    )
    assert run(file).exit_code == 0


@pytest.mark.parametrize(
    ("test", "timestamp"),
    [
        ("given: {}", DEFAULT_TIMESTAMP),
        ("given: {at: never}", DEFAULT_TIMESTAMP),
        ("given: {at: 5}", DEFAULT_TIMESTAMP),
        ("given: 'no JSON'", DEFAULT_TIMESTAMP),
        ("given: {at: '2025-10-20T05:30:00'}", DEFAULT_TIMESTAMP),
        ("given: {at: '2025-10-20T00:00:00.5Z'}", DEFAULT_TIMESTAMP + 500),
        ('given: \'{"at": "2025-10-20T00:00:01Z"}\'', DEFAULT_TIMESTAMP + 1000),
        ("given: {at: '2025-10-20'}, timestamp: null", None),
        ("given: {at: '2025-10-20'}, timestamp: 5", 5),
        ("given: {at: '2025-10-20'}, timestamp: '1970-01-01T00:00:01'", 1000),
        ("given: {at: '2025-10-20'}, timestamp: '1970-01-01T05:30:00.001+05:30'", 1),
    ],
)
def test_timestamp_of_the_record(tmp_path: Path, test: str, timestamp: int | None) -> None:
    """The test's, else the event's own time, else a fixed one: never the clock."""
    config = load(Path(pipeline(tmp_path, f"  - {{name: t, {test}, expect: {{}}}}\n")), {})
    ((given,),) = prepare(config, build(config))
    assert given.record.timestamp == timestamp


def test_no_network(tmp_path: Path) -> None:
    """Connections are not looked at: their variables may be missing."""
    file = Path(pipeline(tmp_path, "  - {name: t, given: {}, expect: {}}\n"))
    file.write_text(file.read_text() + "connections: {redis: {url: '${SURELY_NOT_SET}'}}\n")
    assert run(str(file)).exit_code == 0


COUNTING = """\
name: p
stages:
  - json: {}
  - timestamp: {field: at, timezone: Asia/Kolkata}
  - window: {key: "{u}", fields: {n: {count: true, within: 1h}}}
routes: [{elasticsearch: {index: logs}}]
tests:
"""


def counting(folder: Path, tests: str) -> str:
    file = folder / "p.yaml"
    file.write_text(COUNTING + tests)
    return str(file)


def test_a_sequence(tmp_path: Path) -> None:
    """Events in their order, several of a kind, each with what must come of it or the last alone.

    What stages remember begins empty for every test.
    """
    steps = (
        "{given: {at: '2025-10-20T10:00:00', u: 1}, times: 3, every: 1m, expect: "
        "{event: {n: 3, at: '2025-10-20T10:02:00+05:30', '@timestamp': '2025-10-20T10:02:00+05:30'}}}, "
        "{given: {at: '2025-10-20T11:00:00', u: 1}, expect: {id: test-4}}"
    )
    file = counting(
        tmp_path,
        f"  - {{name: a, sequence: [{steps}], expect: {{event: {{n: 3}}}}}}\n"
        f"  - {{name: b, sequence: [{steps}]}}\n"
        "  - {name: c, sequence: [{given: no JSON}, {given: {u: 1}, timestamp: 5, times: 2, "
        "expect: {tags: [_timestamp_failure, _window_failure]}}]}\n",
    )
    result = run(file)
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, f"{file}: 3 passed")


def test_what_is_otherwise_in_a_sequence(tmp_path: Path) -> None:
    """It is named by its step; of the last event as for a single one."""
    file = counting(
        tmp_path,
        "  - name: wrong\n    sequence:\n"
        "      - {given: {at: '2025-10-20T10:00:00Z', u: 1}, expect: {event: {n: 9}}}\n"
        "      - {given: {at: '2025-10-20T10:00:00Z', u: 1}}\n"
        "    expect: {event: {n: 8}}\n",
    )
    result = run(file)
    assert result.exit_code == 1
    lines = [line.strip() for line in result.output.splitlines()]
    assert lines[2:-1] == ["sequence[0].event.n", "- 9", "+ 1", "event.n", "- 8", "+ 2"]


@pytest.mark.parametrize(
    ("test", "problem"),
    [
        ("given: {}, sequence: [{given: {}}], expect: {}", "give either one event"),
        ("expect: {}", "give an event (given), or a sequence"),
        ("sequence: [{given: {}}]", "write what must come of it: expect"),
        ("given: {}", "write what must come of it: expect"),
        ("sequence: [{given: {}, times: 0}], expect: {}", "tests[0].sequence[0].times: "),
        ("sequence: [{given: {}, every: 1x}], expect: {}", "sequence[0].every: "),
        ("sequence: [{given: {}, times: 2, every: 1m}], expect: {}", "the event has no at"),
        ("sequence: [{given: {at: x}, times: 2, every: 1m}], expect: {}", "sequence[0].every: "),
        (
            "sequence: [{given: {}, timestamp: x}], expect: {}",
            "sequence[0].timestamp: no timestamp",
        ),
        ("sequence: [{given: {}, expect: {event: {'a..b': 1}}}]", "sequence[0].expect: "),
        ("sequence: [{given: {}, expects: {}}], expect: {}", 'unknown field "expects"'),
    ],
)
def test_mistakes_in_a_sequence(tmp_path: Path, test: str, problem: str) -> None:
    """With their place."""
    result = run(counting(tmp_path, f"  - {{name: t, {test}}}\n"))
    assert isinstance(result.exception, ConfigError)
    assert problem in str(result.exception)
