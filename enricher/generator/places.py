"""Name the places that customers pay from, and addresses that lie there."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from enricher.generator.dice import Dice


class City(NamedTuple):
    """Describe an Indian city by its address ranges.

    Args:
        name: English name.
        networks: IPv4 networks that City databases of 2025 place there.
        weight: how many of a hundred or so customers live there.
    """

    name: str
    networks: tuple[IPv4Network, ...]
    weight: int


def _city(name: str, weight: int, *networks: str) -> City:
    return City(name, tuple(map(IPv4Network, networks)), weight)


# Every state that a business region names has a city here, and some states have no region.
CITIES = (
    _city("Mumbai", 14, "59.182.0.0/15", "49.36.0.0/19", "157.32.0.0/18"),
    _city("Pune", 6, "117.232.192.0/18", "117.228.128.0/19"),
    _city("Nagpur", 2, "49.15.32.0/19", "106.77.224.0/19"),
    _city("New Delhi", 12, "117.235.0.0/16", "117.250.0.0/16"),
    _city("Gurugram", 4, "106.199.64.0/18"),
    _city("Noida", 3, "1.22.192.0/19"),
    _city("Lucknow", 3, "106.76.160.0/20", "106.219.160.0/20"),
    _city("Ludhiana", 2, "106.192.168.0/21", "103.60.100.0/22"),
    _city("Bengaluru", 13, "106.196.128.0/17", "106.51.0.0/20"),
    _city("Chennai", 7, "49.137.128.0/17"),
    _city("Coimbatore", 1, "103.81.32.0/22"),
    _city("Hyderabad", 9, "49.139.128.0/17", "49.206.64.0/19"),
    _city("Kochi", 2, "103.199.160.0/22", "103.253.128.0/22"),
    _city("Kolkata", 6, "49.136.0.0/17", "49.137.0.0/17"),
    _city("Bhubaneswar", 2, "122.50.128.0/18"),
    _city("Patna", 2, "103.38.4.0/22", "103.47.216.0/22"),
    _city("Ranchi", 1, "103.16.104.0/22", "103.51.32.0/22"),
    _city("Jaipur", 3, "117.218.88.0/21"),
    _city("Ahmedabad", 4, "49.249.128.0/19"),
    _city("Bhopal", 2, "106.209.0.0/17"),
    _city("Visakhapatnam", 2, "122.175.64.0/20"),
)
ABROAD = (
    "8.8.8.8",
    "81.2.69.160",
    "2.125.160.216",
    "1.1.1.1",
    "89.160.20.112",
    "216.160.83.56",
)
PRIVATE = ("10.0.12.7", "10.244.3.91", "192.168.1.20", "192.168.29.114", "172.16.0.9", "127.0.0.1")
IPV6 = ("2405:200::1", "2405:201:4001:5b8e::1f", "2001:4860:4860::8888", "::ffff:49.36.0.9")

_ELSEWHERE = 0.92  # below it the customer is at home; what follows splits the rest
_ABROAD = 0.955
_PRIVATE = 0.97
_IPV6 = 0.98
_EMPTY = 0.99


def address_in(city: City, dice: Dice) -> str:
    """Return an address of the city."""
    network = dice.pick(city.networks)
    return str(network[1 + dice.below(network.num_addresses - 2)])


def address_now(home: str, dice: Dice) -> str | None:
    """Return where a request came from: mostly home, sometimes abroad, private, empty or absent."""
    where = dice.random()
    if where < _ELSEWHERE:
        return home
    if where < _ABROAD:
        return dice.pick(ABROAD)
    if where < _PRIVATE:
        return dice.pick(PRIVATE)
    if where < _IPV6:
        return dice.pick(IPV6)
    return "" if where < _EMPTY else None
