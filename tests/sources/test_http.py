"""The http source in a pipeline file: what is checked, and who asked for it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from enricher.cli import service
from enricher.config import load
from enricher.model import ConfigError, UserError
from enricher.sources.http import Http
from tests.cli.program import PAYMENTS, Daemon, enricher
from tests.servers.process import free_ports

PIPELINE = """\
name: tiny
connections: {{elasticsearch: {{store: store.db}}}}
sources:
  - file: {{paths: [events.ndjson]}}
  - http:
      {settings}
stages: [{{json: {{}}}}]
routes: [{{elasticsearch: {{index: logs}}}}]
"""


def written(folder: Path, settings: str) -> Path:
    file = folder / "p.yaml"
    file.write_text(PIPELINE.format(settings=settings))
    return file


@pytest.mark.parametrize(
    ("settings", "line", "told"),
    [
        ("listen: 0.0.0.0:8080", 5, "open to the network, and anybody could send: give token"),
        ('listen: "[::]:8080"', 5, "open to the network"),
        ("listen: shop.example:8080", 5, "open to the network"),
        ("{listen: 0.0.0.0:8080, token: ''}", 5, "or listen on 127.0.0.1"),
        ("listen: 8080", 6, "an address is HOST:PORT, such as 127.0.0.1:8080"),
        ("username: me", 5, "username and password go together"),
        ("password: me", 5, "username and password go together"),
        ("tls: {key_file: k.pem}", 6, "certificate_file is missing"),
        ("tls: {client_ca_file: ca.pem}", 6, "certificate_file is missing"),
        ("id_field: a..b", 6, "no field path"),
        ("ack: maybe", 6, "'durable' or 'received'"),
        ("tokn: x", 6, 'unknown field "tokn" (did you mean "token"?)'),
        ("name: a@b", 6, "pattern"),
        ("path: logs", 6, "pattern"),
        ("max_body_bytes: 0", 6, "greater than"),
    ],
)
def test_a_mistake_has_its_line_and_its_remedy(
    settings: str, line: int, told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, settings))
    (problem,) = caught.value.problems
    assert told in problem.message
    assert problem.line == line


@pytest.mark.parametrize(
    "settings",
    ["{}", 'listen: "[::1]:8080"', "listen: localhost:0", "listen: 127.9.9.9:1",
     "{listen: 0.0.0.0:8080, token: t}", "{listen: 0.0.0.0:8080, username: u, password: p}",
     "{listen: 0.0.0.0:1, tls: {certificate_file: c.pem, client_ca_file: ca.pem}}",
     "tls: {certificate_file: '', key_file: '', client_ca_file: ''}"],
)  # fmt: skip
def test_what_is_right_is_taken(settings: str, tmp_path: Path) -> None:
    _, source = load(written(tmp_path, settings)).sources
    assert isinstance(source, Http)


def test_a_missing_variable_is_no_address_that_is_open(tmp_path: Path) -> None:
    """With --allow-missing-env, in CI, what cannot be known is not refused."""
    file = written(tmp_path, "{listen: '${HTTP_LISTEN}', token: '${HTTP_TOKEN}'}")
    load(file, {}, allow_missing_env=True)
    with pytest.raises(ConfigError, match="HTTP_LISTEN is not set"):
        load(file, {})


def test_check_opens_the_files_of_tls(tmp_path: Path) -> None:
    written(tmp_path, "tls: {certificate_file: none.pem}")
    done = enricher("check", "p.yaml", folder=tmp_path)
    assert done.code == 2
    assert done.err == (
        "p.yaml: source http tls.certificate_file: none.pem cannot be read: "
        "No such file or directory; correct the path\n"
    )


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """Not in what the model says of itself, and not in an error of another field."""
    config = Http.model_validate({"token": "s3cret", "username": "u", "password": "s3cret"})
    assert "s3cret" not in f"{config} {config!r}"
    written(tmp_path, "{listen: nowhere, token: s3cret, password: s3cret}")
    assert "s3cret" not in enricher("check", "p.yaml", folder=tmp_path).err


def test_a_source_that_is_not_enabled_is_left_alone(tmp_path: Path) -> None:
    """Unless it is asked for by name; where none is enabled, it is told what to do."""
    config = load(written(tmp_path, "enabled: ${ON:-false}"), {})

    def names(*only: str) -> list[str]:
        options = service.Options(only_sources=only)
        return [source.name for source in service.build_sources(config, options)]

    assert names() == ["file"]
    assert names("http") == ["http"]
    assert names("http", "file") == ["file", "http"]
    on = load(written(tmp_path, "enabled: ${ON:-false}"), {"ON": "true"})
    assert len(service.build_sources(on, service.Options())) == 2
    text = PIPELINE.format(settings="enabled: no").replace("{paths", "{enabled: no, paths")
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(UserError, match="no sources; enable one of file, http"):
        service.build_sources(load(tmp_path / "p.yaml"), service.Options())


def test_the_shipped_pipeline_listens_only_when_asked() -> None:
    """It is no bother to those who read Kafka alone, several on one host among them."""
    for environment, enabled in (({}, False), ({"HTTP_ENABLED": "true"}, True)):
        source = load(PAYMENTS, environment).sources[-1]
        assert (source.enabled, source.listen) == (enabled, "127.0.0.1:8080")
    open_to_all = {"HTTP_LISTEN": "0.0.0.0:8080"}
    with pytest.raises(ConfigError, match="HTTP_TOKEN"):
        load(PAYMENTS, open_to_all)
    assert load(PAYMENTS, open_to_all | {"HTTP_TOKEN": "t"}).sources[-1].token


def test_an_address_in_use_is_one_line(tmp_path: Path) -> None:
    """Exit code 2, with what to do; the first goes on."""
    (port,) = free_ports(1)
    written(tmp_path, f"listen: 127.0.0.1:{port}")
    command = ("run", "p.yaml", "--source", "http", "--admin", "off")
    with Daemon(*command, folder=tmp_path) as first:
        first.wait_for("http source")
        second = enricher(*command, folder=tmp_path)
        assert second.code == 2
        assert f"listen: 127.0.0.1:{port} is in use" in second.err
        assert "give another address, stop who has it, or leave this source out" in second.err
        url = f"http://127.0.0.1:{port}/"
        assert httpx.post(url, json={"a": 1}).json() == {"accepted": 1}


def test_workers_share_the_port(tmp_path: Path) -> None:
    """Connections are spread over them; what each is sent is written once."""
    (port,) = free_ports(1)
    written(tmp_path, f"listen: 127.0.0.1:{port}")
    command = ("run", "p.yaml", "--source", "http", "--workers", 2, "--admin", "off")
    with Daemon(*command, folder=tmp_path) as daemon:
        daemon.wait_for('"worker": 1, "source": "http"', '"worker": 2, "source": "http"')
        for number in range(20):
            answer = httpx.post(f"http://127.0.0.1:{port}/", json={"n": number})
            assert answer.json() == {"accepted": 1}
        daemon.terminate()
        assert daemon.wait() == 0
        counts = [line for line in daemon.text.splitlines() if line.startswith('{"records"')]
        assert len(counts) == 2
        assert sum(int(line.partition(":")[2].partition(",")[0]) for line in counts) == 20
