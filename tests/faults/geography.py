"""A GeoIP database of which every answer says whose it is, and what may happen to its file."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

from enricher.generator.places import ABROAD, CITIES, IPV6
from tests.geoip import mmdb

Network = IPv4Network | IPv6Network
PIECES = 5
"""A city's network is 2 ** 5 of the database, at most: an answer of the neighbour's is noticed."""
NAME = 1000
"""Characters of a name: the database has hundreds of pages that can be lost."""
NEVER = 9999
"""The generation of what is damaged: no document may have it."""


class Geography:
    """Writes databases that differ in nothing but their generation, which every name carries."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "places.mmdb"
        self._cities = {network: city_of(network) for network in _networks()}
        self._known: dict[str, str | None] = {}
        country = {"iso_code": "IN", "names": {"en": "India"}}
        records = {
            str(network): {"country": country, "city": {"names": {"en": f"{named(0)}{city}"}}}
            for network, city in self._cities.items()
        }
        self._template = mmdb.write(folder / "template.mmdb", records).read_bytes()

    def database(self, generation: int) -> bytes:
        """Give a whole database."""
        return self._template.replace(named(0).encode(), named(generation).encode())

    def city(self, address: str) -> str | None:
        """Give the city of an address; None where none is known."""
        if address not in self._known:
            number = ip_address(address)
            number = getattr(number, "ipv4_mapped", None) or number
            cities = (city for network, city in self._cities.items() if number in network)
            self._known[address] = next(cities, None)
        return self._known[address]

    def put(self, content: bytes, *, in_place: bool = False) -> None:
        """Write the file over the one that is there, or rename a new one over it."""
        if self.file.is_dir():
            self.file.rmdir()
        if in_place:
            self.file.write_bytes(content)
        else:
            new = self.file.with_suffix(".new")
            new.write_bytes(content)
            new.rename(self.file)


def named(generation: int) -> str:
    """Name a generation, in as many bytes as any other."""
    return f"{generation:04} "


def city_of(network: Network) -> str:
    """Name the city of a network."""
    return f"{network} ".ljust(NAME, ".")


def _networks() -> Iterator[Network]:
    for city in CITIES:
        for network in city.networks:
            yield from network.subnets(new_prefix=min(24, network.prefixlen + PIECES))
    for address in (*ABROAD, *IPV6):
        if "ffff" not in address:
            yield ip_network(f"{address}/{48 if ':' in address else 24}", strict=False)


def _overwrite(geography: Geography, dice: random.Random, filling: bytes) -> None:
    """Overwrite a part in place, before the metadata; a running reader may have it mapped."""
    with geography.file.open("r+b") as content:
        end = content.read().rindex(mmdb.MARK)
        begin = dice.randrange(0, end // 4) & ~4095
        content.seek(begin)
        content.write(filling * (end // 2 // len(filling)))


def _bad(file: Path, *, in_place: bool) -> Callable[[Geography, random.Random], None]:
    return lambda geography, _: geography.put(file.read_bytes(), in_place=in_place)


def _delete(geography: Geography, _: random.Random) -> None:
    geography.file.unlink()


def _make_folder(geography: Geography, _: random.Random) -> None:
    geography.file.unlink()
    geography.file.mkdir()


def _truncate(geography: Geography, dice: random.Random) -> None:
    os.truncate(geography.file, dice.randrange(1, geography.file.stat().st_size - 1))


DAMAGE: Mapping[str, Callable[[Geography, random.Random], None]] = {
    "truncated in place": _truncate,
    "overwritten in place": lambda geography, dice: _overwrite(geography, dice, b"\xff"),
    "garbage in place": lambda geography, dice: _overwrite(geography, dice, dice.randbytes(4096)),
    "a hole in it": lambda geography, dice: _overwrite(geography, dice, bytes(4096)),
    "half copied in place": lambda geography, _: geography.put(
        geography.database(NEVER)[: geography.file.stat().st_size // 2], in_place=True
    ),
    "emptied": lambda geography, _: geography.put(b"", in_place=True),
    "a text": lambda geography, _: geography.put(b"<html>Too many downloads</html>"),
    "of another type": _bad(mmdb.DATA / "GeoLite2-ASN-Test.mmdb", in_place=False),
    "deleted": _delete,
    "a folder": _make_folder,
    **{file.stem: _bad(file, in_place=n % 2 == 0) for n, file in enumerate(mmdb.BAD)},
}
"""What must be refused, and must not touch what is open."""
