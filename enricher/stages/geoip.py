"""Find where an IP address is, and whose it is."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from pydantic import Field

from enricher import path
from enricher.connections import File
from enricher.geoip.database import Database, open_database
from enricher.geoip.places import Places
from enricher.geoip.record import FIELDS, Read, offered, state_code
from enricher.model import Event, Failure, Shared
from enricher.path import FieldPath
from enricher.stages.base import (
    Context,
    EventFunction,
    Example,
    FieldError,
    Stage,
    require_text,
)

_OCTETS = frozenset(str(octet) for octet in range(256))


class Geoip(Stage):
    """Look an address up in a MaxMind database: City, Country, ASN, or one of their shape.

    An absent, null or empty address is left alone. A private, unknown or unreadable address is
    a failure. What the database does not know of a network is not written; what databases of its
    type never know is a mistake in the pipeline file.

    Several stages may ask several databases. A file that changes is looked into, and then takes
    the place of the old one while the pipeline runs; one that is no good is refused, and the old
    one goes on to answer, whatever happened to its file: what is asked is a copy (in `TMPDIR`, or
    in memory where there is no room). Damage to a few records shows when they are asked: a failure.
    """

    kind: ClassVar[str] = "geoip"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "an address",
            "geoip: {field: ip, country: geo.country, country_code: geo.code}",
            {"ip": "8.8.8.8"},
            {"ip": "8.8.8.8", "geo": {"country": "United States", "code": "US"}},
        ),
        Example(
            "whose network it is, from a second database",
            "geoip: {name: asn, field: ip, database: GeoLite2-ASN.mmdb, asn: as.number, "
            "as_organization: as.name}",
            {"ip": "2600:6000::1"},
            {"ip": "2600:6000::1", "as": {"number": 237, "name": "Merit Network Inc."}},
        ),
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
        description="An .mmdb file; the pipeline's `geoip_database`, else the packaged one (City).",
    )
    continent_code: FieldPath | None = Field(default=None, description="Target: such as `AS`.")
    country: FieldPath | None = Field(
        default=None, description="Target: the country's English name."
    )
    country_code: FieldPath | None = Field(default=None, description="Target: such as `IN`.")
    state: FieldPath | None = Field(default=None, description="Target: the first subdivision.")
    city: FieldPath | None = Field(default=None, description="Target: the city's English name.")
    postal_code: FieldPath | None = Field(default=None, description="Target: a text.")
    location: FieldPath | None = Field(default=None, description="Target: `{lat, lon}`, degrees.")
    timezone: FieldPath | None = Field(default=None, description="Target: such as Asia/Kolkata.")
    asn: FieldPath | None = Field(
        default=None, description="Target: the autonomous system's number, an integer."
    )
    as_organization: FieldPath | None = Field(
        default=None, description="Target: who runs the autonomous system."
    )
    state_codes: dict[str, str] = Field(
        default_factory=dict,
        description="State by ISO 3166-2 code (`IN-MH`), used where the database has the code.",
    )

    def compile(self, context: Context) -> EventFunction:
        """Open the database and build the function. Raises ValueError that says how to get one."""
        named = self.database or context.geoip_database
        file = named and context.path(named)
        if file not in context.databases:
            context.databases[file] = open_database(file)
        database = context.databases[file]
        self.check(database)
        places = Places(database.reader, partial(build, self.readers()))
        get, field, octets, merge = path.getter(self.field), self.field, _OCTETS, path.merge
        has_any = path.tester(self.nested_roots())
        networks, addresses, look_up = places.networks, places.addresses, places.look_up

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
                found = look_up(address)
            if isinstance(found, str):
                raise Failure(f"{address[:64]} {found}")
            if has_any(event):
                merge(event, found)
            else:
                event.update(found)

        geoip.__dict__["database"] = database
        return geoip

    def check(self, database: Database) -> None:
        """See that the database can give what is wanted. Raises FieldError."""
        wanted, known = self.wanted(), offered(database.kind)
        for name in wanted:
            if name not in known:
                raise FieldError(
                    name,
                    f"a {database.kind} database ({database.file}) has no {name}, but "
                    f"{', '.join(known)}: name another with `database`, or take the field out",
                )
        if wanted and database.seen.isdisjoint(wanted):
            has = f"has {', '.join(sorted(database.seen))}" if database.seen else "has none known"
            raise FieldError(
                next(iter(wanted)),
                f"no record seen in {database.file} (type {database.kind}) has any of "
                f"{', '.join(wanted)}, it {has}: name another with `database`",
            )

    def wanted(self) -> dict[str, str]:
        """Give the targets of the fields that are wanted, by name."""
        targets = {name: getattr(self, name) for name in FIELDS}
        return {name: target for name, target in targets.items() if target is not None}

    def readers(self) -> list[tuple[str, Read]]:
        """Give what is written where, and how it is read."""
        reads = dict(FIELDS)
        if self.state_codes:
            codes, by_name = self.state_codes, FIELDS["state"]
            reads["state"] = lambda record: codes.get(state_code(record)) or by_name(record)
        return [(target, reads[name]) for name, target in self.wanted().items()]

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return self.wanted().values()

    def nested_roots(self) -> frozenset[str]:
        """Give the objects that the targets lie in, such as `geoip` of `geoip.location`."""
        keys = [path.parse(target) for target in self.wanted().values()]
        return frozenset(parts[0] for parts in keys if len(parts) > 1)


def build(readers: list[tuple[str, Read]], record: dict[str, Any]) -> Event:
    """Pick what is wanted from a database's record; it is shared by all events there."""
    event: Event = {}
    for target, read in readers:
        value = read(record)
        if value is not None:
            path.merge(event, path.nest(target, value))
    return Shared(event)
