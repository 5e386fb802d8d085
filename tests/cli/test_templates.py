"""`enricher templates`: show them as they are installed, and install them."""

from __future__ import annotations

from pathlib import Path

import orjson

from .program import PAYMENTS, ROOT, TINY, Result, enricher, serving

FILES = sorted((ROOT / "templates" / "elasticsearch").glob("*/*.json"))


def test_show(tmp_path: Path) -> None:
    """The files with their variables put in; what each one is stands on standard error."""
    environment = {"ELASTICSEARCH_REPLICAS": "0"}
    result = enricher("templates", "show", PAYMENTS, folder=tmp_path, environment=environment)
    assert result.code == 0
    assert "${" not in result.out
    assert len(result.err.splitlines()) == len(FILES)
    one = enricher("templates", "show", PAYMENTS, "--name", "payment-logs", folder=tmp_path)
    assert one.err.startswith("# index_templates payment-logs version ")
    assert orjson.loads(one.out)["index_patterns"] == ["payment-logs-*"]


def test_what_cannot_be_shown(tmp_path: Path) -> None:
    """A misspelt name; a pipeline that names no folder."""
    misspelt = enricher("templates", "show", PAYMENTS, "--name", "payment-log", folder=tmp_path)
    assert (misspelt.code, misspelt.out) == (2, "")
    assert misspelt.err.startswith(
        'no template "payment-log" (did you mean "payment-logs"?); there'
    )
    (tmp_path / "p.yaml").write_text(TINY)
    none = enricher("templates", "show", "p.yaml", folder=tmp_path)
    assert none == Result(
        2, "", "p.yaml: name the folder of templates: `templates: ../templates`\n"
    )


def test_install(tmp_path: Path) -> None:
    """Each file is put where the server has none, and a line says so."""
    with serving() as server:
        environment = {"ELASTICSEARCH_URL": server.url}
        result = enricher(
            "templates", "install", PAYMENTS, folder=tmp_path, environment=environment
        )
        puts = [target.split("/")[-1] for target in server.targets if target.startswith("PUT")]
    assert (result.code, result.err) == (0, "")
    assert sorted(puts) == sorted(file.stem for file in FILES)
    assert [line.split()[1] for line in result.out.splitlines()] == puts
    assert all(line.endswith(": installed") for line in result.out.splitlines())


def test_a_server_that_is_away_is_told_at_once(tmp_path: Path) -> None:
    """This command does not wait for it, and does not say so."""
    environment = {"ELASTICSEARCH_URL": "http://127.0.0.1:9"}
    result = enricher("templates", "install", PAYMENTS, folder=tmp_path, environment=environment)
    assert result == Result(
        2,
        "",
        "elasticsearch at http://127.0.0.1:9 cannot be reached (connection refused); "
        "check connections.elasticsearch.hosts\n",
    )
