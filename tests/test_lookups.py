"""The stores behind `lookup`: a file, Redis, or none."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from enricher.connections import RedisConnection
from enricher.lookups import FileLookups, RedisLookups, open_lookups, read_lookups
from enricher.model import Unavailable, UserError
from enricher.stages.base import NoLookups
from enricher.stages.lookup import REMEMBERED_BYTES, Cache


def test_answers_are_kept_by_their_bytes() -> None:
    """Large ones are forgotten before they are many; the last are still there."""
    cache = Cache(3600)
    for number in range(100):
        cache.held()
        cache.add({f"u{number}": {"a": "x"}}, REMEMBERED_BYTES // 10)
    assert len(cache.held()) < 30
    assert "u99" in cache.held()


async def test_a_file_answers_in_the_order_asked(tmp_path: Path) -> None:
    """Texts as they are, anything else as JSON; the last line of a key counts."""
    file = tmp_path / "lookups"
    file.write_text(
        '{"key": "a", "value": 1}\n\n{"key": "b", "value": {"x": "₹"}}\n'
        '{"key": "c", "value": "{broken"}\n{"key": "a", "value": [2]}\n'
    )
    lookups = FileLookups(file)
    assert await lookups.get_many(["b", "no", "a", "c"]) == [
        '{"x":"₹"}'.encode(),
        None,
        b"[2]",
        b"{broken",
    ]


@pytest.mark.parametrize(
    "line",
    ["{", "5", "[]", "{}", '{"key": "a"}', '{"value": 1}', '{"key": [], "value": 1}', "\xff"],
)
def test_a_line_that_is_no_lookup(tmp_path: Path, line: str) -> None:
    """Its number is told, and how to write one."""
    file = tmp_path / "lookups"
    file.write_bytes(b'{"key": "a", "value": 1}\n\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(UserError, match=r"lookups:3: write {\"key\": …, \"value\": …}, one a line"):
        read_lookups(file)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_lookups(tmp_path)


async def test_redis_that_is_away() -> None:
    """Unavailable, with a reason that repeats no password; the next question tries again."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    connection = RedisConnection(url=SecretStr(f"redis://:s3cret@127.0.0.1:{port}/0"))
    lookups = open_lookups(connection)
    for _ in range(2):
        with pytest.raises(Unavailable, match="redis cannot be asked: ConnectionError") as caught:
            await lookups.get_many(["a"])
        assert "s3cret" not in str(caught.value)


async def test_redis_that_is_slow() -> None:
    """A server that does not answer in time is away, too."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = SecretStr(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        lookups = open_lookups(RedisConnection(url=url, timeout_ms=20))
        with pytest.raises(Unavailable, match="redis cannot be asked: TimeoutError"):
            await lookups.get_many(["a"])


@pytest.mark.parametrize(
    "url", ["s3cret", "http://a:s3cret@b", "redis://:s3/cret@b", "redis://:1/s3cret@b", "redis://"]
)
def test_an_address_of_no_use(url: str) -> None:
    """Found before anything is asked; its text is not repeated."""
    with pytest.raises(ValidationError, match="a URL is wanted, such as redis://") as caught:
        RedisConnection(url=SecretStr(url))
    assert "s3cret" not in str(caught.value)


def test_what_only_the_client_can_tell() -> None:
    connection = RedisConnection(url=SecretStr("redis://localhost?socket_timeout=s3cret"))
    with pytest.raises(UserError, match="connections.redis.url cannot be used") as caught:
        RedisLookups(connection)
    assert "s3cret" not in str(caught.value)


def test_without_a_connection_nothing_is_known() -> None:
    assert isinstance(open_lookups(None), NoLookups)
    assert isinstance(open_lookups(RedisConnection()), NoLookups)
