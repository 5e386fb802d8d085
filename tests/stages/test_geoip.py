"""Places of addresses, and what is no address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from enricher.build import build
from enricher.config import load
from enricher.model import Failure
from enricher.plan import Plan
from enricher.stages.base import Context
from enricher.stages.geoip import Geoip

from .running import event_of

PIPELINES = Path(__file__).parent.parent.parent / "pipelines"


def place(country: str, code: str, *states: dict[str, Any], **more: Any) -> dict[str, Any]:
    named = {"country": {"iso_code": code, "names": {"en": country}}, "subdivisions": list(states)}
    return named | more


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a small database in MaxMind's City shape."""
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test-City")
    delhi = {"iso_code": "DL", "names": {"en": "National Capital Territory of Delhi"}}
    for network, found in {
        "203.0.113.0/24": place(
            "India", "IN", delhi, city={"names": {"en": "New Delhi"}},
            location={"latitude": 28.6, "longitude": 77.2, "time_zone": "Asia/Kolkata"},
        ),
        "198.51.100.0/25": place("India", "IN", {"names": {"en": "Orissa"}}),
        "198.51.100.128/25": place("India", "IN", {"iso_code": "MH"}),
        "192.0.2.0/24": place("Nepal", "NP"),
        "8.8.0.0/30": place("Monaco", "MC"),
        "8.8.8.0/24": place("United States", "US", {"iso_code": "CA", "names": {"en": "New York"}}),
        "2001:db8::/32": place("India", "IN", {"iso_code": "KA", "names": {"en": "Mysore"}}),
    }.items():  # fmt: skip
        writer.insert_network(IPSet([network]), found)
    file = tmp_path_factory.mktemp("geoip") / "city.mmdb"
    writer.to_db_file(str(file))
    return file


@pytest.fixture(scope="module")
def payments(database: Path) -> Plan:
    return build(load(PIPELINES / "payments.yaml", {"GEOIP_DATABASE": str(database)}))


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("203.0.113.9", {"geo_country": "India", "geo_state": "delhi", "geo_city": "New Delhi",
                         "business_region": "north",
                         "geoip": {"location": {"lat": 28.6, "lon": 77.2},
                                   "timezone": "Asia/Kolkata"}}),
        ("198.51.100.1", {"geo_state": "odisha", "business_region": "east"}),
        ("198.51.100.200", {"geo_state": "maharashtra", "business_region": "west"}),
        ("192.0.2.1", {"geo_country": "Nepal", "geo_state": None, "business_region": None}),
        ("8.8.8.8", {"geo_country": "United States", "geo_state": "new_york",
                     "business_region": "other"}),
        ("2001:db8::1", {"geo_state": "karnataka", "business_region": "south"}),
        ("::ffff:203.0.113.9", {"geo_state": "delhi"}),
    ],
)  # fmt: skip
def test_places(payments: Plan, address: str, wanted: dict[str, Any]) -> None:
    """GEOIP_DATABASE counts; a state's ISO code is preferred to its name; twice from memory."""
    for _ in range(2):
        event = event_of(payments, {"ip_address": address, "timestamp": "2025-11-20"})
        assert {key: event.get(key) for key in wanted} == wanted
        assert "tags" not in event


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("10.0.0.1", "is a private address"),
        ("127.0.0.1", "is a private address"),
        ("fd00::1", "is a private address"),
        ("9.9.9.9", "is not in the database"),
        ("8.8.8", "is no IP address"),
        ("2130706433", "is no IP address"),
        ("0x7f.1", "is no IP address"),
        ("08.8.8.8", "is no IP address"),
        ("8.8.8.8/32", "is no IP address"),
        ("8.8.8.8\x00", "is no IP address"),
        (" 8.8.8.8", "is no IP address"),
        ("٨.٨.٨.٨", "is no IP address"),
        ("localhost", "is no IP address"),
        ("1" * 5000, "is no IP address"),
        (5, "ip_address is a number, not a text"),
        (True, "ip_address is a boolean, not a text"),
        (["8.8.8.8"], "ip_address is a list, not a text"),
    ],
)
def test_no_place(payments: Plan, address: object, reason: str) -> None:
    """One tag, a reason, no field."""
    for _ in range(2):
        event = event_of(payments, {"ip_address": address, "timestamp": "2025-11-20"})
        assert event["tags"] == ["_geoip_failure"]
        assert event["failures"]["geoip"].endswith(reason)
        assert not {"geo_country", "geo_state", "geo_city", "geoip", "business_region"} & set(event)


def test_one_bad_address_spoils_no_other(database: Path) -> None:
    """What is remembered of "8.8.8" is not taken for the network of 8.8.8.8."""
    stage: Any = Geoip(database=database, country="c").compile(Context())
    with pytest.raises(Failure):
        stage({"ip_address": "8.8.8"})
    event = {"ip_address": "8.8.8.8"}
    stage(event)
    assert event == {"ip_address": "8.8.8.8", "c": "United States"}
    halves = [{"ip_address": f"198.51.100.{last}"} for last in (1, 200, 1, 200)]
    state: Any = Geoip(database=database, state="s", state_codes={"IN-MH": "mh"}).compile(Context())
    for half in halves:
        state(half)
    assert [half["s"] for half in halves] == ["Orissa", "mh", "Orissa", "mh"]


def test_places_are_shared_and_never_changed(payments: Plan) -> None:
    """An event with a geoip object of its own keeps it, and the next event has none of it."""
    own = {"ip_address": "203.0.113.9", "timestamp": "2025-11-20", "geoip": {"asn": 5}}
    assert event_of(payments, own)["geoip"]["asn"] == 5
    plain = {"ip_address": "203.0.113.9", "timestamp": "2025-11-20"}
    assert set(event_of(payments, plain)["geoip"]) == {"location", "timezone"}
    text = event_of(payments, {**plain, "geoip": "Mumbai"})
    assert text["geoip"] == "Mumbai"
    assert text["tags"] == ["_geoip_failure"]


def test_database_that_is_no_database(tmp_path: Path) -> None:
    """The message says what to do."""
    with pytest.raises(ValueError, match="set GEOIP_DATABASE"):
        Geoip(database=tmp_path / "no.mmdb").compile(Context())
    (tmp_path / "bad.mmdb").write_bytes(b"no database")
    with pytest.raises(ValueError, match="cannot be read"):
        Geoip(database=Path("bad.mmdb")).compile(Context(folder=tmp_path))
