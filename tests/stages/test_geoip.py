"""Places of addresses, and what is no address."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from enricher.build import build
from enricher.config import load
from enricher.model import ConfigError, Failure
from enricher.plan import Plan
from enricher.stages.base import Context
from enricher.stages.geoip import Geoip

from ..geoip import mmdb
from .running import event_of, plan_of

PIPELINES = Path(__file__).parent.parent.parent / "pipelines"
MMDB = mmdb.DATA


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
        ("::ffff:cb00:7109", {"geo_state": "delhi"}),
        ("2001:DB8:0:0:0:0:0:1", {"geo_state": "karnataka"}),
        ("2001:db8::1%eth0", {"geo_state": "karnataka"}),
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
        ("2001:db9::1", "is not in the database"),
        ("::1", "is a private address"),
        ("fe80::1%eth0", "is a private address"),
        ("::ffff:10.0.0.1", "is a private address"),
        ("[2001:db8::1]", "is no IP address"),
        ("2001:db8::1%", "is no IP address"),
        ("2001:db8::/32", "is no IP address"),
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


def test_an_asn_and_a_country_database(tmp_path: Path) -> None:
    """Several stages of one pipeline, each on a database of its own; IPv4 and IPv6."""
    plan = plan_of(
        f"geoip: {{field: ip, database: {MMDB}/GeoLite2-Country-Test.mmdb, country: geo.country, "
        "country_code: geo.code, continent_code: geo.continent}",
        f"geoip: {{field: ip, database: {MMDB}/GeoLite2-City-Test.mmdb, city: geo.city, "
        "postal_code: geo.post, location: geo.at, timezone: geo.zone, state: geo.state}",
        f"geoip: {{name: asn, field: ip, database: {MMDB}/GeoLite2-ASN-Test.mmdb, asn: as.number, "
        "as_organization: as.name}",
    )
    event = event_of(plan, {"ip": "89.160.20.112", "as": {"x": 1}})
    assert event["geo"] == {
        "country": "Sweden", "code": "SE", "continent": "EU", "city": "Linköping", "state": "Östergötland County",
        "at": {"lat": 58.4167, "lon": 15.6167}, "zone": "Europe/Stockholm",
    }  # fmt: skip
    assert event["as"] == {"x": 1, "number": 29518, "name": "Bredband2 AB"}
    event = event_of(plan, {"ip": "2a02:ffc0::9"})
    assert event["geo"]["country"] == "Gibraltar"
    assert set(event["failures"]) == {"asn"}
    assert event_of(plan, {"ip": "2.125.160.216"})["geo"]["post"] == "OX1"


def test_an_enterprise_database(tmp_path: Path) -> None:
    """It has everything, the autonomous system among the traits."""
    record = place("Nepal", "NP", traits={"autonomous_system_number": 17501})
    file = mmdb.write(tmp_path / "d.mmdb", {"1.0.0.0/8": record}, kind="GeoIP2-Enterprise")
    stage: Any = Geoip(database=file, field="ip", country="c", asn="a").compile(Context())
    event = {"ip": "1.2.3.4"}
    stage(event)
    assert event == {"ip": "1.2.3.4", "c": "Nepal", "a": 17501}


@pytest.mark.parametrize(
    ("stage", "problem"),
    [
        ("{database: @CITY,\n      asn: a}",
         "p.yaml:5:7: stages[1].geoip.asn: a GeoLite2-City database (@CITY) has no asn, but continent_code, country, country_code, state, city, postal_code, location, timezone: name another with `database`, or take the field out"),
        ("{database: @COUNTRY, country: c,\n      city: d}",
         "p.yaml:5:7: stages[1].geoip.city: a GeoLite2-Country database (@COUNTRY) has no city, but"),
        ("{database: @ASN,\n      country: c, asn: a}",
         "p.yaml:5:7: stages[1].geoip.country: a GeoLite2-ASN database (@ASN) has no country, but asn, as_organization"),
        ("{\n      asn: a}", "p.yaml:5:7: stages[1].geoip.asn: a DBIP-City-Lite database ("),
        ("{database: @FLAT,\n      country: c}",
         "p.yaml:5:7: stages[1].geoip.country: no record seen in @FLAT (type ipinfo standard) has any of country, it has none known: name another with `database`"),
    ],
)  # fmt: skip
def test_a_field_that_the_database_cannot_give(tmp_path: Path, stage: str, problem: str) -> None:
    """It is told where it stands, before anything runs."""
    flat = {"country": "US", "asn": "AS15169"}
    files = {
        f"@{name.upper()}": MMDB / f"GeoLite2-{name}-Test.mmdb"
        for name in ("City", "Country", "ASN")
    }
    files["@FLAT"] = mmdb.write(tmp_path / "flat.mmdb", {"8.0.0.0/8": flat}, kind="ipinfo standard")
    for name, path in files.items():
        stage, problem = stage.replace(name, str(path)), problem.replace(name, str(path))
    file = tmp_path / "p.yaml"
    file.write_text(
        f"name: p\nstages:\n  - json: {{}}\n  - geoip: {stage}\nroutes: [elasticsearch: {{index: l}}]\n"
    )
    with pytest.raises(ConfigError) as error:
        build(load(file, {}))
    assert str(error.value).startswith(f"{tmp_path}/{problem}")


def test_values_that_no_document_may_have(tmp_path: Path) -> None:
    """A damaged number or a record of another shape writes nothing: each is left out alone."""
    odd: dict[str, Any] = {
        "1.0.0.0/24": {"country": "India", "city": {"names": ["x"]}, "subdivisions": "x", "location": 5},
        "1.0.1.0/24": {"country": {"names": {"en": 5}, "iso_code": b"IN"}, "subdivisions": [[], 5]},
        "1.0.2.0/24": place("India", "IN", location={"latitude": 1e300, "longitude": 5.5}),
        "1.0.3.0/24": place("India", "IN", location={"latitude": math.nan, "longitude": 5.5}),
        "1.0.4.0/24": place("India", "IN", location={"latitude": 5.5}),
        "1.0.5.0/24": place("India", "IN", traits={"autonomous_system_number": 1 << 100}),
        "1.0.6.0/24": place("India", "IN", location={"latitude": 5, "longitude": -180.0}),
    }  # fmt: skip
    file = mmdb.write(tmp_path / "d.mmdb", odd, kind="GeoIP2-Enterprise")
    plan = plan_of(
        f"geoip: {{field: ip, database: {file}, country: c, country_code: cc, state: s, city: t, location: l, asn: a}}"
    )
    found = [event_of(plan, {"ip": f"1.0.{n}.5"}) for n in range(7)]
    assert all(event.pop("ip") for event in found)
    india = {"c": "India", "cc": "IN"}
    assert found == [{}, {}, india, india, india, india, india | {"l": {"lat": 5, "lon": -180.0}}]


def test_bad_databases() -> None:
    """Each is refused with its name, or its addresses are answered, with little memory and time."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, mmdb.BAD)], capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = [orjson.loads(line) for line in done.stdout.splitlines()]
    assert [line["file"] for line in lines] == [str(bad) for bad in mmdb.BAD for _ in range(2)]
    answered = [line for line in lines if line["refused"] is None]
    for line in answered:
        assert line["count"] == 3000
        assert all(
            " is not in the database" in one or " damaged" in one for one in line["failures"]
        )
    for line in lines:
        if line["refused"] is not None:
            assert line["file"] in line["refused"]
    assert 2 <= len(answered) <= len(mmdb.BAD)


LIMITED = """\
import random, resource, sys
from ipaddress import ip_address
from pathlib import Path
import orjson
from enricher.model import Failure
from enricher.stages.base import Context
from enricher.stages.geoip import Geoip

resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
for bad in sys.argv[1:]:
    for targets in ({}, {"country": "c", "city": "d", "location": "l", "timezone": "t"}):
        dice, failures, count, refused = random.Random(1), set(), 0, None
        try:
            stage = Geoip(field="ip", database=Path(bad), **targets).compile(Context())
            for bits in (32, 120, 126) * 1000:
                try:
                    stage({"ip": str(ip_address(dice.getrandbits(bits)))})
                except Failure as failure:
                    failures.add(str(failure))
                count += 1
        except ValueError as error:
            refused = str(error)
        line = {"file": bad, "refused": refused, "count": count, "failures": list(failures)}
        print(orjson.dumps(line).decode())
"""
"""All of them in one process, with 400 MiB of address space and 30 s of CPU at most."""


def test_stages_share_a_database(database: Path) -> None:
    """One copy and one look into it for all stages of a pipeline."""
    context = Context(geoip_database=database)
    stages: list[Any] = [Geoip(field=f, country="c").compile(context) for f in ("a", "b")]
    other: Any = Geoip(database=MMDB / "GeoLite2-ASN-Test.mmdb", asn="a").compile(context)
    assert stages[0].database is stages[1].database
    assert other.database is not stages[0].database


def test_database_that_is_no_database(tmp_path: Path) -> None:
    """The message says what to do."""
    with pytest.raises(ValueError, match="set GEOIP_DATABASE"):
        Geoip(database=tmp_path / "no.mmdb").compile(Context())
    (tmp_path / "bad.mmdb").write_bytes(b"no database")
    with pytest.raises(ValueError, match="cannot be read"):
        Geoip(database=Path("bad.mmdb")).compile(Context(folder=tmp_path))
