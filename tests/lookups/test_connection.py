"""How Redis is reached: addresses, users and passwords, TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr, ValidationError

from enricher.connections import Connections, RedisConnection
from enricher.lookups import open_lookups
from enricher.lookups.store import Answer
from enricher.model import Unavailable, UserError
from tests.servers.relay import Relay
from tests.servers.valkey import Valkey


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Run a server that wants a password, and a user who has another."""
    folder = tmp_path_factory.mktemp("guarded")
    socket = folder / "redis.sock"
    server = Valkey(
        folder,
        *("--requirepass", "s3cret:/@,", "--unixsocket", str(socket)),
        *("--user", "app", "on", ">p@ss", "~user:*", "+@read", "+@connection"),
    )
    server.start()
    yield server
    server.stop()


async def answers(connection: RedisConnection, key: str = "user:1") -> list[Answer]:
    store = open_lookups(connection)
    try:
        return await store.get_many([key])
    finally:
        await store.close()


def refusal(answer: Answer) -> str:
    assert isinstance(answer, Unavailable)
    return str(answer)


async def test_passwords(guarded: Valkey) -> None:
    """In the URL or apart from it, with a user or without; none of them is ever told."""
    place = f"127.0.0.1:{guarded.port}"
    plain, password = SecretStr(f"redis://{place}"), SecretStr("s3cret:/@,")
    for connection in (
        RedisConnection(url=plain, password=password),
        RedisConnection(url=SecretStr(f"redis://:s3cret%3A%2F%40%2C@{place}/0")),
        RedisConnection(url=plain, username="app", password=SecretStr("p@ss")),
        RedisConnection(url=SecretStr(f"redis://app@{place}"), password=SecretStr("p@ss")),
        RedisConnection(
            url=SecretStr(f"unix://{guarded.folder}/redis.sock?db=1"), password=password
        ),
    ):
        assert await answers(connection) == [None]
        assert "s3cret" not in repr(connection)
        assert "p@ss" not in repr(connection)
    for connection, error in (
        (RedisConnection(url=plain), "AuthenticationError"),
        (RedisConnection(url=plain, password=SecretStr("wr0ng")), "AuthenticationError"),
    ):
        (answer,) = await answers(connection)
        assert error in refusal(answer)
        assert "wr0ng" not in refusal(answer)
    app = RedisConnection(url=plain, username="app", password=SecretStr("p@ss"))
    assert "NoPermissionError" in refusal((await answers(app, "other:1"))[0])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Path:
    """Write the authority's certificate, another's, and that of a client."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    client = authority.issue_cert("client@example.org")
    client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    (tmp_path / "no.pem").write_text("no certificate")
    return tmp_path


def context(authority: trustme.CA, host: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(made)
    return made


async def test_tls(valkey: Any, authority: trustme.CA, files: Path) -> None:
    """Certificates are verified, by authority and by host, unless that is switched off."""
    async with Relay(valkey.port, context(authority, "127.0.0.1")) as relay:
        url = SecretStr(f"rediss://127.0.0.1:{relay.port}/0")
        assert await answers(RedisConnection(url=url, ca_file=files / "ca.pem")) == [None]
        for refused in (
            RedisConnection(url=url),
            RedisConnection(url=url, ca_file=files / "other.pem"),
        ):
            assert "ConnectionError" in refusal((await answers(refused))[0])
        trusting = RedisConnection(url=url, verify_certificates=False)
        assert await answers(trusting) == [None]
        assert Connections(redis=trusting).unverified == ["redis"]
        assert Connections(redis=RedisConnection(url=url)).unverified == []
    async with Relay(valkey.port, context(authority, "redis.example.org")) as relay:
        url = SecretStr(f"rediss://127.0.0.1:{relay.port}/0")
        other_host = RedisConnection(url=url, ca_file=files / "ca.pem")
        assert "ConnectionError" in refusal((await answers(other_host))[0])


async def test_mutual_tls(valkey: Any, authority: trustme.CA, files: Path) -> None:
    """The server wants a certificate of the client, too."""
    strict = context(authority, "127.0.0.1")
    strict.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(strict)
    async with Relay(valkey.port, strict) as relay:
        url = SecretStr(f"rediss://127.0.0.1:{relay.port}/0")
        ca, certificate = files / "ca.pem", files / "client.pem"
        known = RedisConnection(url=url, ca_file=ca, certificate_file=certificate)
        assert await answers(known) == [None]
        assert isinstance((await answers(RedisConnection(url=url, ca_file=ca)))[0], Unavailable)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing.pem", "connections.redis.ca_file: .*missing.pem cannot be read: No such file"),
        ("no.pem", "connections.redis: a TLS file cannot be used: "),
    ],
)
def test_a_tls_file_of_no_use(files: Path, name: str, told: str) -> None:
    """Found when the run is put together, not when the first record waits."""
    with pytest.raises(UserError, match=told):
        open_lookups(RedisConnection(url=SecretStr("rediss://localhost:1"), ca_file=files / name))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3cret", "a URL is wanted, such as redis://"),
        ("http://a:s3cret@b", "a URL is wanted, such as redis://"),
        ("redis://:s3/cret@b", "a URL is wanted, such as redis://"),
        ("redis://:1/s3cret@b", "a URL is wanted, such as redis://"),
        ("redis://", "a URL is wanted, such as redis://"),
        ("redis://:s3,cret@b", "a URL is wanted, such as redis://"),
        ("redis://localhost?password=s3cret", "after the port stands nothing"),
        ("rediss://localhost?ssl_cert_reqs=none", "after the port stands nothing"),
        ("redis://localhost/s3cret", "after the port stands nothing"),
    ],
)
def test_an_address_of_no_use(url: str, told: str) -> None:
    """Found before anything is asked; its text is not repeated."""
    with pytest.raises(ValidationError) as caught:
        RedisConnection(url=SecretStr(url))
    assert told in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"url": "redis://a,redis://b"}, "only a cluster has several URLs: set cluster to true"),
        ({"url": "redis://a/1", "cluster": True}, "the database 0 only"),
        ({"url": "unix:///r.sock", "cluster": True}, "a cluster has TCP ports"),
        ({"url": "redis://a", "ca_file": "ca.pem"}, "TLS wants a URL that begins with rediss://"),
        ({"url": "redis://a", "verify_certificates": False}, "begins with rediss://"),
        ({"url": "rediss://a", "key_file": "k.pem"}, "key_file belongs to a certificate_file"),
        ({"url": "redis://:x@a", "password": "y"}, "give the password once"),
        ({"url": "redis://u:x@a", "username": "y"}, "give the user once"),
        ({"url": "redis://a", "file": "f"}, "give either url or file"),
    ],
)
def test_what_does_not_fit_together(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RedisConnection(**options)
    assert told in str(caught.value)
