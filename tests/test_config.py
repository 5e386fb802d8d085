"""A pipeline file's mistakes are told all at once, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from enricher.build import build
from enricher.config import load, load_connections
from enricher.model import ConfigError

PIPELINES = sorted((Path(__file__).parent.parent / "pipelines").glob("*.yaml"))
GOOD = """\
name: p
stages:
  - json: {}
routes:
  - elasticsearch: {index: logs}
"""


def problems(folder: Path, text: str, **options: object) -> list[str]:
    """Give the mistakes of a file as `line:column: …`."""
    file = folder / "p.yaml"
    file.write_text(text)
    try:
        build(load(file, {}, **options))  # type: ignore[arg-type]
    except ConfigError as error:
        assert str(error) == "\n".join(map(str, error.problems))
        return [str(problem).removeprefix(f"{file}:") for problem in error.problems]
    return []


def with_stage(stage: str) -> str:
    return GOOD.replace("  - json: {}\n", f"  - json: {{}}\n{stage}\n")


@pytest.mark.parametrize("file", PIPELINES, ids=lambda file: file.name)
def test_shipped_pipelines_build_without_any_variable(file: Path) -> None:
    build(load(file, {}))


def test_good_file(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD) == []


def test_misspelt_field(tmp_path: Path) -> None:
    text = with_stage("  - translate:\n      field: a\n      target: b\n      tabel: {a: b}")
    assert problems(tmp_path, text) == [
        '7:7: stages[1].translate.tabel: unknown field "tabel" (did you mean "table"?)',
    ]


def test_misspelt_stage(tmp_path: Path) -> None:
    assert problems(tmp_path, with_stage("  - tranlate: {field: a}")) == [
        '4:5: stages[1].tranlate: unknown stage "tranlate" (did you mean "translate"?)'
    ]


def test_misspelt_field_deep_down(tmp_path: Path) -> None:
    """Also within lists of models and optional models."""
    bucket = "  - bucket:\n      field: a\n      ranges:\n        - {set: {b: 1}, bellow: 5}"
    text = with_stage(bucket)
    assert problems(tmp_path, text) == [
        '7:25: stages[1].bucket.ranges[0].bellow: unknown field "bellow" (did you mean "below"?)'
    ]
    text = GOOD + "alerts:\n  - {name: a, when: b, summary: c, email: {to: [d], subjekt: e}}\n"
    found = problems(tmp_path, text)
    unknown = 'alerts[0].email.subjekt: unknown field "subjekt" (did you mean "subject"?)'
    assert f"7:53: {unknown}" in found
    assert any('missing field "subject"' in problem for problem in found)


def test_misspelt_top_level(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("name", "nmae"))
    assert '1:1: nmae: unknown field "nmae" (did you mean "name"?)' in found
    assert '1:1: missing field "name"' in found


def test_all_mistakes_in_one_pass(tmp_path: Path) -> None:
    """Each of them, in the order of the file."""
    text = """\
name: p!
stages:
  - json: {}
  - convert: {field: "a..b", type: nubmer}
  - what: {}
  - convert
  - {convert: {}, drop: {}}
  - timestamp: {timezone: India, when: "level = 'x'"}
  - set: {fields: {a: "{b"}}
  - calendar: {periods: [{from: 02-30, to: 01-01, set: {}}]}
routes:
  - elasticsearch: {index: "{level}"}
    when: lowr(a)
  - elasticsearch: {index: "Logs"}
  - kafka: {topic: "a b"}
    console: {}
    when: a
alerts:
  - {name: a, when: "b ==", summary: "{"}
source: []
"""
    found = problems(tmp_path, text)
    for problem in (
        "1:1: name: string should match pattern",
        '4:15: stages[1].convert.field: "a..b" is no field path',
        "4:30: stages[1].convert.type: input should be 'number', 'integer', 'boolean' or 'text'",
        '5:5: stages[2].what: unknown stage "what"',
        "6:5: stages[3]: write one stage as",
        "7:5: stages[4]: write one stage as",
        '8:17: stages[5].timestamp.timezone: unknown time zone "India"',
        "8:47: stages[5].timestamp.when: bad expression: invalid syntax (write == to compare)",
        '9:11: stages[6].set.fields: a single "{"',
        '10:27: stages[7].calendar.periods[0].from: "02-30" is no day',
        "12:21: routes[0].elasticsearch.index: an index name starts with",
        '13:5: routes[0].when: unknown function "lowr" (did you mean "lower"?)',
        '14:21: routes[1].elasticsearch.index: "Logs" cannot stand in an index name',
        "19:15: alerts[0].when: bad expression",
        '19:29: alerts[0].summary: a single "{"',
        '20:1: source: unknown field "source" (did you mean "sources"?)',
    ):
        assert any(line.startswith(problem) for line in found), (problem, found)
    lines = [int(problem.split(":")[0]) for problem in found]
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("  - json: {}\n", "  - set: {fields: {a: 1}}\n", "the first stage must decode"),
        ("  - json: {}\n", "  - json: {}\n" * 2, "4:5: stages[1]: json must be the first"),
        ("stages:\n  - json: {}\n", "", "the first stage must decode"),
        ("routes:\n  - elasticsearch: {index: logs}\n", "routes: []\n", "at least 1 item"),
        ("routes:\n  - elasticsearch: {index: logs}\n", "", 'missing field "routes"'),
        ("{index: logs}", "{index: logs}\n    when: a", "the last route has no when"),
        ("  - elastic", "  - console: {}\n  - elastic", "only the last route may have no when"),
        ("{index: logs}", "{index: 'logs-{a}'}", "an index name from data needs its values"),
        ("{index: logs}", "{index: 'logs-{a}', allowed: {a: [X]}}", '"X" cannot stand in an index'),
        ("{index: logs}", "{index: 'x-{@t:%Y}-{@u:%m}'}", "one time is enough"),
        ("{index: logs}", "{index: '-logs'}", "an index name starts with"),
        ("{index: logs}", "{index: 'logs-{$now}'}", "an index name starts with"),
        ("{index: logs}", "{index: logs, id: '{$now}-{a}'}", "an id comes from the event alone"),
        ("{index: logs}", "{index: logs}\n    console: {}", "a route names exactly one of"),
        ("name: p\n", "name: p\nname: q\n", '2:1: duplicate key "name"'),
        ("name: p\n", "- a\n", "bad YAML"),
        (GOOD, "- a\n", "1:1: a pipeline is a mapping"),
        (GOOD, "", "1:1: a pipeline is a mapping"),
        (GOOD, "5", "1:1: a pipeline is a mapping"),
        ("{}", "{max_depth: 500}", "less than or equal to 200"),
        ("{}", "{on_error: tag}", "stages[0].json.on_error"),
        ("{}", "5", "stages[0].json: "),
        ("name: p", "name: ${NAME}", "1:1: name: the variable NAME is not set"),
    ],
)
def test_mistake(tmp_path: Path, old: str, new: str, problem: str) -> None:
    found = problems(tmp_path, GOOD.replace(old, new))
    assert any(problem in line for line in found), found


def test_names_are_taken_once(tmp_path: Path) -> None:
    text = (
        GOOD
        + "alerts:\n  - {name: a, when: x, summary: s}\n  - {name: a, when: x, summary: s}\n"
        + "tests:\n  - {name: t, given: {}, expect: {}}\n  - {name: t, given: {}, expect: {}}\n"
    )
    assert problems(tmp_path, text) == [
        '8:5: alerts[1]: the name "a" is taken; give this one another',
        '11:5: tests[1]: the name "t" is taken; give this one another',
    ]


def test_mistakes_that_building_finds(tmp_path: Path) -> None:
    """Files that stages need are opened, and each one that is away is told."""
    text = with_stage(
        "  - translate: {field: a, target: b, file: no.json}\n"
        "  - geoip: {database: no.mmdb}\n"
        "  - python: {function: 'os:getcwd'}"
    )
    found = problems(tmp_path, text)
    assert [line.split(": ")[0] for line in found] == ["4:5", "5:5", "6:5"]
    assert "cannot be read" in found[0]
    assert "set GEOIP_DATABASE" in found[1]
    assert "allow_python: true" in found[2]


def test_secrets_are_in_no_message(tmp_path: Path) -> None:
    """A value that may be a secret is not repeated, whatever is wrong with it."""
    text = GOOD + (
        "connections:\n  redis: {url: 'redis://:hunter2@h', file: x, extra: hunter2}\n"
        "  kafka: {brokers: [], sasl_password: [hunter2], sasl_mechanism: hunter2}\n"
        "  elasticsearch: {api_key: {a: hunter2}}\n"
    )
    found = problems(tmp_path, text)
    assert len(found) >= 4
    assert "hunter2" not in "\n".join(found)


def test_environment_that_is_given_is_the_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty environment is one; without any the process's own counts."""
    monkeypatch.setenv("PIPELINE_NAME_X", "from-the-process")
    file = tmp_path / "p.yaml"
    file.write_text(GOOD.replace("name: p", "name: ${PIPELINE_NAME_X:-default}"))
    assert load(file, {}).pipeline.name == "default"
    assert load(file, {"PIPELINE_NAME_X": "given"}).pipeline.name == "given"
    assert load(file).pipeline.name == "from-the-process"


def test_missing_variables_may_be_allowed(tmp_path: Path) -> None:
    text = GOOD.replace("name: p", "name: p-${NAME}")
    assert problems(tmp_path, text, allow_missing_env=True) == []


def test_connections_are_swapped_whole(tmp_path: Path) -> None:
    """A stand-in replaces the block, and its variables are not asked for."""
    file = tmp_path / "p.yaml"
    file.write_text(GOOD + "connections:\n  redis: {url: '${MISSING}'}\n")
    config = load(file, {}, connections={"elasticsearch": {"store": "s.db"}})
    assert config.pipeline.connections.redis is None
    assert config.pipeline.connections.elasticsearch is not None
    other = tmp_path / "c.yaml"
    other.write_text("redis: {url: '${URL:-redis://a}'}\n")
    assert load_connections(other, {}) == {"redis": {"url": "redis://a"}}
    other.write_text("reddis: {}\n")
    with pytest.raises(ConfigError, match='unknown field "reddis"'):
        load_connections(other, {})


def test_digest_names_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(GOOD)
    first = load(file, {}).digest
    file.write_text(GOOD + "# changed\n")
    assert load(file, {}).digest != first


def test_an_index_name_beyond_elasticsearchs_limit(tmp_path: Path) -> None:
    """255 bytes are taken, 256 are a mistake of the file: each record would be refused."""
    time = "-{@timestamp:%Y.%m.%d}"
    assert not problems(tmp_path, GOOD.replace("logs}", f'"{"l" * 244}{time}"}}'))
    [problem] = problems(tmp_path, GOOD.replace("logs}", f'"{"l" * 245}{time}"}}'))
    assert problem.endswith("the index name has 256 bytes; 255 is the most")
