"""GeoIP databases: small ones that tests write, MaxMind's own, and damage to them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmdb_writer
import pytest
from netaddr import IPSet

DATA = Path(__file__).parents[1] / "data" / "mmdb"
GOOD = sorted(DATA.glob("*.mmdb"))
BAD = sorted((DATA / "bad").glob("*.mmdb"))
MARK = b"\xab\xcd\xefMaxMind.com"


def write(
    file: Path,
    networks: Mapping[str, Any],
    *,
    kind: str = "Test-City",
    version: int = 6,
    record_size: int | None = None,
    floats: Any = "f64",
) -> Path:
    """Write a database of records by network."""
    writer = mmdb_writer.MMDBWriter(
        ip_version=version,
        ipv4_compatible=version == 6,
        database_type=kind,
        int_type="auto",
        float_type=floats,
    )
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    with pytest.MonkeyPatch.context() as patch:
        if record_size is not None:

            def wider(tree: Any) -> None:
                tree.record_size = record_size
                tree.data_offset = record_size / 4 * tree._node_counter

            patch.setattr(mmdb_writer.TreeWriter, "_adjust_record_size", wider)
        writer.to_db_file(str(file))
    return file


def country(name: str, code: str = "XX") -> dict[str, Any]:
    """Make a record of nothing but a country."""
    return {"country": {"iso_code": code, "names": {"en": name}}}


def damaged(whole: bytes, dice: random.Random) -> bytes:
    """Change, cut out or put in bytes, mostly before the metadata."""
    raw = bytearray(whole)
    end = max(1, whole.rfind(MARK))
    for _ in range(dice.choice([1, 1, 2, 5, 50])):
        at = dice.randrange(min(dice.choice([end, len(whole)]), len(raw)))
        match dice.randrange(5):
            case 0 | 1:
                raw[at] = dice.randrange(256)
            case 2:
                raw[at : at + dice.randrange(1, 200)] = dice.randbytes(dice.randrange(1, 200))
            case 3:
                del raw[at : at + dice.randrange(1, 64)]
            case 4:
                raw[at : at + 8] = b"\xff" * 8
        if len(raw) < 64:
            break
    return bytes(raw)
