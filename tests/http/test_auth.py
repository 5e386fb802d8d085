"""Who is let in, and who is not."""

from __future__ import annotations

import ssl
from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from structlog.testing import capture_logs

from enricher.model import UserError

from .rig import JSON, Rig, client_tls, request, serving, statuses

PASSWORD = "p:ä ss"


def basic(text: str) -> str:
    return f"Basic {b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("settings", "header", "status"),
    [
        ({"token": "abc"}, "Bearer abc", 200),
        ({"token": "abc"}, "bearer  abc ", 200),
        ({"token": "new, abc"}, "Bearer abc", 200),
        ({"token": "new, abc"}, "Bearer new", 200),
        ({"token": "new, abc"}, "Bearer new, abc", 401),
        ({"token": "abc"}, "Bearer abcd", 401),
        ({"token": "abc"}, "Bearer ab", 401),
        ({"token": "abc"}, "Bearer ", 401),
        ({"token": "abc,"}, "Bearer ", 401),
        ({"token": "abc"}, "abc", 401),
        ({"token": "abc"}, "", 401),
        ({"token": "abc"}, "Bearer \udcff", 401),
        ({"token": "abc"}, basic("abc:"), 401),
        ({"username": "u", "password": PASSWORD}, basic(f"u:{PASSWORD}"), 200),
        ({"username": "u", "password": PASSWORD}, basic("u:other"), 401),
        ({"username": "u", "password": PASSWORD}, "Basic %%%", 401),
        ({"username": "u", "password": PASSWORD}, f"Bearer {PASSWORD}", 401),
        ({"token": "abc", "username": "u", "password": "p"}, basic("u:p"), 200),
        ({"token": "abc", "username": "u", "password": "p"}, "Bearer abc", 200),
        ({}, "", 200),
        ({}, "Bearer whatever", 200),
    ],
)
async def test_who_is_let_in(settings: dict[str, Any], header: str, status: int) -> None:
    async with serving(**settings) as rig:
        sent = f"Authorization: {header}".encode(errors="surrogateescape")
        whole = request(b"{}", "AUTHORIZATION", "Connection: close")
        answer = await rig.raw(whole.replace(b"AUTHORIZATION", sent))
        assert statuses(answer) == [status]
        assert len(rig.taken) == (status == 200)
        if status == 401:
            asked = answer.partition(b"WWW-Authenticate: ")[2].partition(b"\r\n")[0].decode()
            assert ("Bearer" in asked) == ("token" in settings)
            assert ("Basic" in asked) == ("username" in settings)


async def test_a_stranger_learns_nothing_and_sends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not what is here, nor how much may be sent; the connection ends with the answer."""
    monkeypatch.setattr("enricher.http.connection._LINGERING_S", 0.05)
    async with serving(token="secret", max_body_bytes=1024) as rig:
        for sent in (
            request(b"{}", line="GET /elsewhere HTTP/1.1"),
            request(b"", "Content-Length: 99999999"),
            request(b"{}", kind="text/plain"),
        ):
            answer = await rig.raw(sent + request(b"{}"))
            assert statuses(answer) == [401]
            assert b"secret" not in answer
        assert rig.taken == []
        assert rig.source.counts.received_bytes == 0


@pytest.fixture
def certificates(tmp_path: Path) -> trustme.CA:
    """Write an authority, and what it issued to a server and to a client."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name, issued in (
        ("server", authority.issue_cert("localhost", "127.0.0.1")),
        ("client", authority.issue_cert("shipper")),
    ):
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    return authority


async def ask(rig: Rig, tls: ssl.SSLContext) -> httpx.Response:
    async with httpx.AsyncClient(verify=tls) as client:
        url = rig.url.replace("http", "https")
        return await client.post(url, content=b"{}", headers={"Content-Type": JSON})


SERVER = {"certificate_file": "server.pem", "key_file": "server.key"}


async def test_records_come_over_tls(certificates: trustme.CA, tmp_path: Path) -> None:
    """Plain text on that port is refused; so is a client that does not know the authority."""
    async with serving(tmp_path, tls=SERVER) as rig:
        assert (await ask(rig, client_tls(certificates))).status_code == 200
        with pytest.raises(httpx.ConnectError):
            await ask(rig, ssl.create_default_context())
        assert statuses(await rig.raw(request(b"{}"))) == []
        assert len(rig.taken) == 1
        await rig.wait_for(lambda: not rig.source.counts.connections)


async def test_clients_may_need_a_certificate(certificates: trustme.CA, tmp_path: Path) -> None:
    """One that the authority issued."""
    async with serving(tmp_path, tls={**SERVER, "client_ca_file": "ca.pem"}) as rig:
        with pytest.raises((httpx.HTTPError, ssl.SSLError)):
            await ask(rig, client_tls(certificates))
        stranger = client_tls(certificates)
        trustme.CA().issue_cert("shipper").configure_cert(stranger)
        with pytest.raises((httpx.HTTPError, ssl.SSLError)):
            await ask(rig, stranger)
        known = client_tls(certificates)
        known.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
        assert (await ask(rig, known)).status_code == 200
        assert len(rig.taken) == 1


async def test_an_open_port_without_tls_is_warned_about(
    certificates: trustme.CA, tmp_path: Path
) -> None:
    for tls, warnings in (({}, 1), (SERVER, 0)):
        with capture_logs() as logs:
            async with serving(tmp_path, listen="0.0.0.0:0", token="secret", tls=tls) as rig:
                assert rig.source.counts.open_without_tls == warnings
        assert [entry["log_level"] for entry in logs].count("warning") == warnings
        assert "secret" not in str(logs)


@pytest.mark.parametrize(
    ("tls", "told"),
    [
        ({"certificate_file": "none.pem"}, "tls.certificate_file: none.pem cannot be read"),
        ({**SERVER, "key_file": "none.key"}, "tls.key_file: none.key cannot be read"),
        ({**SERVER, "client_ca_file": "server.key"}, "tls: a file cannot be used"),
        ({"certificate_file": "ca.pem", "key_file": "server.key"}, "tls: a file cannot be used"),
        ({"certificate_file": "server.pem"}, "tls: a file cannot be used"),
        ({"certificate_file": "locked.pem"}, "tls: a file cannot be used"),
    ],
)
@pytest.mark.usefixtures("certificates")
async def test_a_file_that_cannot_be_used_is_one_line(
    tls: dict[str, str], told: str, tmp_path: Path
) -> None:
    """Nobody is asked for a password either."""
    begin, end = ("-----%s ENCRYPTED PRIVATE KEY-----" % word for word in ("BEGIN", "END"))
    (tmp_path / "locked.pem").write_text(f"{begin}\nMIIB\n{end}\n")
    with pytest.raises(UserError, match=told) as caught:
        async with serving(tmp_path, tls=tls):
            pass
    assert "\n" not in str(caught.value)
