"""An Alertmanager that asks who is there, and proves who it is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trustme

from enricher.model import ConfigError, UserError
from tests.alerts.telling import Telling, until
from tests.conftest import make_server
from tests.servers.alertmanager import Alertmanager

PASSWORD = "pass:word"
WEB = """\
tls_server_config: {cert_file: server.pem, key_file: server.key}
basic_auth_users: {enricher: $2b$04$rF4KX.5h.lIrLw2g8noALO6.qokYnyxWERj0/frE2cm9ks7mjDCva}
"""
"""The hash is the password's."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Alertmanager]:
    """Run an Alertmanager behind TLS and a password."""
    folder = tmp_path_factory.mktemp("alertmanager")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    made = make_server(partial(Alertmanager, web=WEB), folder)
    made.start()
    yield made
    made.stop()


async def told(folder: Path, **connection: Any) -> tuple[int, str]:
    """Let an alert match; give how many matches were told, and why not more."""
    alert = {"name": "Access", "alertmanager": {}}
    telling = Telling(folder, [alert], {}, {"alertmanager": connection})
    (replica,) = telling.alerting.replicas.each
    counts = telling.alerting.replicas.counts["Access"]
    async with telling.running(finish_s=0):
        telling.match("Access", [{}])
        await until(lambda: counts.told or replica.blocked)
        return counts.told, replica.blocked or ""


async def test_password_and_authority(server: Alertmanager, tmp_path: Path) -> None:
    """Both may stand in fields of their own, or the password in the URL."""
    place = f"127.0.0.1:{server.port}"
    file = str(server.folder / "ca.pem")
    apart = {"username": "enricher", "password": PASSWORD}
    assert await told(tmp_path, urls=f"https://{place}", ca_file=file, **apart) == (1, "")
    inside = f"https://enricher:pass%3Aword@{place}"
    assert await told(tmp_path, urls=inside, ca_file=file) == (1, "")


async def test_a_wrong_password_is_told_without_it(server: Alertmanager, tmp_path: Path) -> None:
    url = f"https://enricher:wrong%3Aone@127.0.0.1:{server.port}"
    count, why = await told(tmp_path, urls=url, ca_file=str(server.folder / "ca.pem"))
    assert count == 0
    assert why == (
        f"alertmanager https://127.0.0.1:{server.port} answers 401: check the password or token "
        "of connections.alertmanager"
    )


async def test_an_unknown_authority_is_not_trusted(server: Alertmanager, tmp_path: Path) -> None:
    url = f"https://enricher:pass%3Aword@127.0.0.1:{server.port}"
    count, why = await told(tmp_path, urls=url)
    assert count == 0
    assert "cannot be told (its certificate is not trusted: " in why
    assert why.endswith("check connections.alertmanager)")


async def test_without_a_file_the_system_says_whom_to_trust(
    server: Alertmanager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever authorities come with the client's packages."""
    monkeypatch.setattr("certifi.where", lambda: str(tmp_path / "nothing.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(server.folder / "ca.pem"))
    url = f"https://enricher:pass%3Aword@127.0.0.1:{server.port}"
    assert await told(tmp_path, urls=url) == (1, "")


def test_a_token_that_no_header_takes(tmp_path: Path) -> None:
    """It is said at once, and not repeated."""
    for token in ("tök3n", "t0k3n\nx: y"):
        with pytest.raises(ConfigError, match="a token is one line of printable ASCII") as caught:
            Telling(tmp_path, [], {}, {"alertmanager": {"urls": "http://a:1", "token": token}})
        assert "k3n" not in str(caught.value)


def test_a_file_that_is_no_authority(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    connection = {"urls": "https://localhost:1", "ca_file": str(tmp_path / "ca.pem")}
    with pytest.raises(UserError, match=r"connections\.alertmanager: a TLS file cannot be used"):
        Telling(tmp_path, [], {}, {"alertmanager": connection})


async def test_a_token_is_sent(tmp_path: Path) -> None:
    """Alertmanager itself knows none, what stands before it may; so a server of the test's own."""
    seen: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            seen.append((self.path, self.headers["authorization"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/behind/a/path"
        try:
            assert await told(tmp_path, urls=url, token="t0ken") == (1, "")
        finally:
            server.shutdown()
            thread.join()
    assert seen[0] == ("/behind/a/path/api/v2/alerts", "Bearer t0ken")
