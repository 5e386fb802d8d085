"""Records as MaxMind's own reader gives them; damage is told, and never does harm."""

from __future__ import annotations

import random
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import maxminddb
import pytest

from enricher.geoip.database import packaged
from enricher.geoip.reader import MAX_VALUES, DamagedError, Reader

from .mmdb import BAD, GOOD, MARK, damaged, write

EVERYTHING = {
    "text": "é₹😀",
    "long": "x" * 70_000,
    "longer": "y" * 300,
    "long enough": "z" * 29,
    "empty": "",
    "bytes": b"\x00\xff",
    "yes": True,
    "no": False,
    "zero": 0,
    "small": 5,
    "word": 70_000,
    "large": 1 << 40,
    "huge": 1 << 100,
    "negative": -5,
    "double": -1.5e300,
    "list": [1, "a", [], {}, {"k": [None] * 0}],
    "map": {str(n): {"n": n} for n in range(40)},
    "many": [{"same": "value"}] * 400,
}


def ask(reader: Reader, address: str) -> tuple[Any, int]:
    place, length = reader.find(ip_address(address).packed)
    return None if place is None else reader.read(place), length


def addresses(dice: random.Random, count: int) -> list[str]:
    public = [(2 << 124) | dice.getrandbits(125) for _ in range(count)]
    anywhere = [dice.getrandbits(dice.choice([32, 96, 128])) for _ in range(count)]
    return [str(ip_address(number)) for number in (*public, *anywhere)]


def oracle(file: Path) -> maxminddb.Reader:
    """Read as MaxMind does in Python; what it does in C may end the process."""
    return maxminddb.open_database(file, maxminddb.MODE_MEMORY)


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_every_network_of_maxminds_databases(file: Path) -> None:
    """At both ends of each; and so are the networks without a record."""
    reader, known = Reader(file.read_bytes()), oracle(file)
    dice = random.Random(1)
    ends = [str(network[at]) for network, _ in known for at in (0, -1)]
    found = 0
    for address in (*ends, *addresses(dice, 300), "2002:102:304::", "2001:0:102:304::5"):
        answer = ask(reader, address)
        assert answer == known.get_with_prefix_len(address), address
        found += answer[0] is not None
    assert found >= len(ends) > 100


def test_the_packaged_database() -> None:
    """A hundred megabytes, of which some thousand networks are looked at."""
    reader = Reader(packaged().read_bytes())
    known = maxminddb.open_database(packaged())
    metadata = known.metadata()
    assert reader.metadata.kind == metadata.database_type == "DBIP-City-Lite"
    assert reader.metadata.built_at == metadata.build_epoch
    for address in addresses(random.Random(2), 1500):
        assert ask(reader, address) == known.get_with_prefix_len(address), address


@pytest.mark.parametrize("record_size", [24, 28, 32])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("floats", ["f32", "f64"])
def test_every_type_and_size(tmp_path: Path, record_size: int, version: int, floats: str) -> None:
    """Nodes of three sizes, both versions of IP, and whatever a record may hold."""
    networks = {"1.0.0.0/8": EVERYTHING, "2.2.2.2/32": {"n": 1}, "3.128.0.0/9": {"n": 1}}
    networks |= {"2001:db8::/32": {"n": 2}, "2001:db9::1/128": {"n": 3}} if version == 6 else {}
    if floats == "f32":
        networks["1.0.0.0/8"] = EVERYTHING | {"double": 0.5}
    file = write(
        tmp_path / "d.mmdb", networks, version=version, record_size=record_size, floats=floats
    )
    reader, known = Reader(file.read_bytes()), oracle(file)
    assert known.metadata().record_size == record_size
    for network in networks:
        address = network.partition("/")[0]
        answer = ask(reader, address)
        assert answer == known.get_with_prefix_len(address)
        assert answer[1] == int(network.partition("/")[2])
    assert ask(reader, "3.0.0.1") == (None, 9)
    if version == 4:
        assert ask(reader, "2001:db8::1") == (None, 0)


def test_a_database_of_ipv6_alone(tmp_path: Path) -> None:
    """IPv4 has no record there, and no network that could be told."""
    file = write(tmp_path / "d.mmdb", {"2001:db8::/32": {"n": 2}, "8000::/1": {"n": 3}})
    reader = Reader(file.read_bytes())
    assert ask(reader, "1.2.3.4") == (None, 0)
    assert ask(reader, "ffff::") == ({"n": 3}, 1)


def header(kind: int, size: int) -> bytes:
    first = kind << 5 if kind < 8 else 0
    more = b"" if kind < 8 else bytes([kind - 7])
    if size < 29:
        return bytes([first | size]) + more
    if size < 285:
        return bytes([first | 29]) + more + bytes([size - 29])
    if size < 65821:
        return bytes([first | 30]) + more + (size - 285).to_bytes(2, "big")
    return bytes([first | 31]) + more + (size - 65821).to_bytes(3, "big")


def pointer(to: int) -> bytes:
    return bytes([1 << 5 | 3 << 3]) + to.to_bytes(4, "big")


def with_data(folder: Path, data: bytes, begin: int = 0) -> Reader:
    """Make a database of one record, from its bytes."""
    whole = write(folder / "d.mmdb", {"0.0.0.0/1": 1}, version=4, record_size=32).read_bytes()
    node = (1 + 16 + begin).to_bytes(4, "big")
    return Reader(node * 2 + bytes(16) + data + whole[whole.rindex(MARK) :])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (header(7, 1) + header(6, 1) + b"\x01" + header(2, 0), "data are damaged"),
        (header(7, 1) + header(7, 0) + header(2, 0), "data are damaged"),
        (header(7, 1) + header(11, 0) + header(2, 0), "data are damaged"),
        (header(2, 5) + b"\xff\xfe\xfd\xfc\xfb", "data are damaged"),
        (header(2, 16_000_000), "data are damaged"),
        (header(3, 5) + bytes(8), "data are damaged"),
        (header(15, 8) + bytes(8), "data are damaged"),
        (header(10, 28) + bytes(28), "data are damaged"),
        (header(12, 1), "data are damaged"),
        (b"\x00\x00", "no error"),
        (pointer(1 << 30), "data are damaged"),
        (pointer(5) + pointer(0), "data are damaged"),
        (header(11, 1) + pointer(0), "nested too deep"),
        (header(11, 1) * 5000 + header(2, 0), "nested too deep"),
        (header(11, 16_000_000), f"more than {MAX_VALUES} values"),
        (header(7, MAX_VALUES + 1), f"more than {MAX_VALUES} values"),
        (header(11, 60_000) + (header(11, 60_000) + header(2, 0) * 60_000) * 2, "more than"),
    ],
    ids=[
        "number as key", "map as key", "list as key", "no UTF-8", "endless text", "odd double", "odd float",
        "odd integer", "unknown type", "empty map, written oddly", "pointer outside", "pointer to pointer", "cycle",
        "deep", "endless list", "endless map", "long lists",
    ],
)  # fmt: skip
def test_what_records_must_not_be(tmp_path: Path, data: bytes, why: str) -> None:
    """Keys that are no text, texts and pointers that lead outside, cycles, sizes without end."""
    reader = with_data(tmp_path, data)
    if why == "no error":
        assert ask(reader, "1.2.3.4")[0] == {}
        return
    for _ in range(2):
        with pytest.raises(DamagedError, match=why):
            ask(reader, "1.2.3.4")


def test_pointers_that_multiply(tmp_path: Path) -> None:
    """Ten levels of a thousand pointers each to the next: 1000¹⁰ values, which no reader may count."""
    data, last = header(2, 1) + b"x", 0
    for _ in range(10):
        here = len(data)
        data += header(11, 1000) + pointer(last) * 1000
        last = here
    reader = with_data(tmp_path, data, last)
    value = ask(reader, "1.2.3.4")[0]
    assert len(value) == 1000
    assert value[0] is value[999]


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_damage_is_told_and_nothing_else_happens(file: Path) -> None:
    """Of hundreds of damaged files each is refused, or its addresses have records or are refused."""
    whole = file.read_bytes()
    told = 0
    for seed in range(150):
        dice = random.Random(seed)
        try:
            reader = Reader(damaged(whole, dice))
        except DamagedError:
            told += 1
            continue
        for address in addresses(dice, 40):
            try:
                ask(reader, address)
            except DamagedError:
                told += 1
    assert told > 100


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_bad_databases(file: Path) -> None:
    """Those that MaxMind's readers failed on once: no answer but a record, none, or damage."""
    try:
        reader = Reader(file.read_bytes())
    except DamagedError:
        return
    for address in addresses(random.Random(3), 300):
        try:
            ask(reader, address)
        except DamagedError as error:
            assert "damaged" in str(error) or "nested" in str(error) or "values" in str(error)
