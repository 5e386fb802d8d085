"""What is remembered of addresses and networks: never another answer, and never too much."""

from __future__ import annotations

import random
from collections import Counter
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from enricher.geoip import places
from enricher.geoip.places import Places
from enricher.geoip.reader import Reader
from enricher.geoip.record import FIELDS

from .mmdb import country, damaged, write

NETWORKS = {
    "1.0.0.0/8": "a", "2.2.2.0/24": "b", "3.3.3.0/25": "c", "3.3.3.128/26": "d", "3.3.3.192/27": "e",
    "3.3.3.224/31": "f", "3.3.3.226/32": "g", "2001:db8::/32": "h", "2002:102::/32": "i", "2003::/19": "j",
    "2a00:1:2::/48": "k", "2a00:1:3:4::/64": "l", "2a00:1:3:5:8000::/65": "m", "2a00:1:3:6::1/128": "n",
}  # fmt: skip


class Counted(Reader):
    """Counts what is asked of it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.asked: Counter[str] = Counter()

    def find(self, address: bytes) -> tuple[int | None, int]:
        self.asked["find"] += 1
        return super().find(address)

    def read(self, place: int) -> Any:
        self.asked["read"] += 1
        return super().read(place)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("geoip") / "d.mmdb"
    return write(file, {network: country(name) for network, name in NETWORKS.items()}).read_bytes()


def build(record: dict[str, Any]) -> dict[str, Any]:
    return {"c": FIELDS["country"](record)}


def ask(known: Places, address: str) -> dict[str, Any] | str:
    """Ask as the stage does."""
    network, _, last = address.rpartition(".")
    found = known.networks.get(network) if last in OCTETS else None
    return found or known.addresses.get(address) or known.look_up(address)


OCTETS = frozenset(str(octet) for octet in range(256))


def addresses(dice: random.Random, count: int) -> list[str]:
    """Give addresses in and near the networks, in all their spellings, and texts that are none."""
    made: list[str] = []
    for _ in range(count):
        network = dice.choice([*NETWORKS, "10.0.0.0/24", "9.9.9.0/24", "fd00::/64", "::/64"])
        begin, _, length = network.partition("/")
        if ":" in begin:
            rest = 128 - int(length)
            number = int(IPv6Address(begin)) ^ dice.getrandbits(min(rest + 2, 128))
            made += [str(IPv6Address(number)), IPv6Address(number).exploded.upper()]
        else:
            number = int(IPv4Address(begin)) ^ dice.getrandbits(min(34 - int(length), 32))
            text = str(IPv4Address(number))
            made += [text, text, f"::ffff:{text}", f"::{text}", f"0{text}", f"{text}.", text[:-1]]
    made += [network.partition("/")[0] for network in NETWORKS]
    made += [
        "5",
        "",
        ".5",
        "::ffff:5",
        "1.0.0",
        "fe80::1%eth0",
        "2001:db8::1%5",
        "1.0.0.1%5",
        "[::1]",
    ]
    dice.shuffle(made)
    return made


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [1, 3, 1 << 16])
def test_an_answer_does_not_depend_on_what_was_asked_before(
    data: bytes, monkeypatch: pytest.MonkeyPatch, seed: int, limit: int
) -> None:
    """Whatever is remembered or was forgotten, in whatever order: it is that of a new memory."""
    for name in ("LIMIT", "MAX_PLACES"):
        monkeypatch.setattr(places, name, limit)
    known = Places(Reader(data), build)
    seen: Counter[str] = Counter()
    for address in addresses(random.Random(seed), 100):
        answer = ask(known, address)
        assert answer == Places(Reader(data), build).look_up(address), address
        seen[answer if isinstance(answer, str) else answer["c"]] += 1
    assert set(seen) >= {
        *NETWORKS.values(), "is no IP address", "is a private address", "is not in the database",
    }  # fmt: skip


def test_a_network_is_asked_for_once(data: bytes) -> None:
    """Of IPv4 down to a /32, of IPv6 by the steps that lie within the database's own networks."""
    for network, most in {
        "1.0.0.0/24": 1, "3.3.3.0/25": 2, "3.3.3.128/26": 1, "3.3.3.192/27": 2, "3.3.3.226/32": 1,
        "2001:db8::/32": 1, "2003::/32": 1, "2003::/30": 4, "2a00:1:2::/48": 1, "2a00:1:3:4::/64": 1,
        "fd00::/64": 1, "10.0.0.0/24": 1,
    }.items():  # fmt: skip
        reader = Counted(data)
        known = Places(reader, build)
        begin, _, length = network.partition("/")
        dice = random.Random(1)
        for _ in range(200):
            if ":" in begin:
                rest = 128 - int(length)
                ask(known, str(IPv6Address(int(IPv6Address(begin)) | dice.getrandbits(rest))))
            else:
                number = int(IPv4Address(begin)) | dice.getrandbits(32 - int(length))
                ask(known, str(IPv4Address(number)))
        assert 1 <= reader.asked["find"] <= most, network
        assert reader.asked["read"] <= 1


def test_a_place_is_one_object(data: bytes) -> None:
    """However many networks lie there: what comes after the stage is worked out once, too."""
    known = Places(Reader(data), build)
    assert ask(known, "1.0.0.1") is ask(known, "1.200.3.4") is ask(known, "::ffff:1.7.7.7")


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses, networks and places each; whoever makes up addresses fills no more than that."""
    monkeypatch.setattr(places, "LIMIT", 100)
    monkeypatch.setattr(places, "MAX_PLACES", 50)
    names = {f"{n}.{m}.0.0/16": country(f"{n}.{m}") for n in range(1, 5) for m in range(200)}
    reader = Reader(write(tmp_path / "d.mmdb", names).read_bytes())
    known = Places(reader, build)
    dice = random.Random(1)
    for _ in range(5000):
        text = str(IPv4Address(dice.getrandbits(32)))
        near = f"{dice.randrange(1, 5)}.{dice.randrange(200)}.{dice.randrange(256)}.7"
        for address in (text, near, f"2001:{dice.randrange(9999)}::1", text * 3, "9" * 1000):
            ask(known, address)
        tables = [table for widths in known._by_width.values() for _, table in widths]
        assert len(known._places) <= 50
        assert max(len(known.networks), len(known.addresses)) <= 100
        assert sum(map(len, tables)) <= 100
    assert all(len(key) <= places.MAX_REMEMBERED for key in known.addresses)


def test_damage_that_the_probe_missed(data: bytes) -> None:
    """Each address has its own answer or the reason why it cannot be looked up; twice the same."""
    told = 0
    for seed in range(60):
        try:
            reader = Reader(damaged(data, random.Random(seed)))
        except ValueError:
            continue
        known = Places(reader, build)
        for address in addresses(random.Random(seed), 10):
            answer = ask(known, address)
            assert ask(known, address) == answer
            told += "cannot be looked up: its " in answer
    assert told
