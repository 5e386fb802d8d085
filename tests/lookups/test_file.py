"""A file of lookups that stands in for a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from enricher.connections import RedisConnection
from enricher.lookups import (
    FileLookups,
    NoLookups,
    open_lookups,
    read_lookups,
)
from enricher.lookups.cluster import ClusterLookups
from enricher.lookups.redis import RedisLookups
from enricher.model import UserError


async def test_a_file_answers_in_the_order_asked(tmp_path: Path) -> None:
    """Texts as they are, anything else as JSON; the last line of a key counts."""
    file = tmp_path / "lookups"
    file.write_text(
        '{"key": "a", "value": 1}\n\n{"key": "b", "value": {"x": "₹"}}\n'
        '{"key": "c", "value": "{broken"}\n{"key": "a", "value": [2]}\n'
    )
    lookups = FileLookups(read_lookups(file))
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


def test_the_connection_chooses_the_store(tmp_path: Path) -> None:
    """Nothing is known without one; nothing is connected by any."""
    (tmp_path / "lookups").touch()
    url = SecretStr("redis://localhost:1")
    for connection, store in (
        (None, NoLookups),
        (RedisConnection(), NoLookups),
        (RedisConnection(file=tmp_path / "lookups"), FileLookups),
        (RedisConnection(url=url), RedisLookups),
        (RedisConnection(url=url, cluster=True), ClusterLookups),
    ):
        assert type(open_lookups(connection)) is store
