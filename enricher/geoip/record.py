"""What a record of a MaxMind database says: City, Country, ASN, and those of their shape."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from enricher import path

Record = dict[str, Any]
Read = Callable[[Record], Any]
"""Gives a value that can be written to a document; None where the record has none."""
_MAX_ASN = (1 << 32) - 1


def _text(*places: str) -> Read:
    getters = [path.getter(place) for place in places]

    def read(record: Record) -> str | None:
        return next((value for get in getters if type(value := get(record)) is str), None)

    return read


def _asn(record: Record) -> int | None:
    values = [get(record) for get in _ASN]
    return next((n for n in values if type(n) is int and 0 <= n <= _MAX_ASN), None)


_ASN = [path.getter(f"{at}autonomous_system_number") for at in ("", "traits.")]
_ORGANIZATION = "autonomous_system_organization"


def _in_state(read: Read) -> Read:
    """Read of the first subdivision."""

    def read_first(record: Record) -> Any:
        states = record.get("subdivisions")
        first = states[0] if type(states) is list and states else None
        return read(first) if type(first) is dict else None

    return read_first


def _location(record: Record) -> dict[str, float] | None:
    latitude, longitude = _LATITUDE(record), _LONGITUDE(record)
    if _is_within(latitude, 90) and _is_within(longitude, 180):
        return {"lat": latitude, "lon": longitude}
    return None


_LATITUDE, _LONGITUDE = path.getter("location.latitude"), path.getter("location.longitude")


def _is_within(degrees: Any, limit: int) -> bool:
    return type(degrees) in (int, float) and math.isfinite(degrees) and abs(degrees) <= limit


FIELDS: Mapping[str, Read] = {
    "continent_code": _text("continent.code"),
    "country": _text("country.names.en"),
    "country_code": _text("country.iso_code"),
    "state": _in_state(_text("names.en")),
    "city": _text("city.names.en"),
    "postal_code": _text("postal.code"),
    "location": _location,
    "timezone": _text("location.time_zone"),
    "asn": _asn,
    "as_organization": _text(_ORGANIZATION, f"traits.{_ORGANIZATION}"),
}
"""What a stage may ask for, and how it is read. Enterprise databases keep the AS in `traits`."""

_state_code = _in_state(_text("iso_code"))


def state_code(record: Record) -> str:
    """Give the first subdivision's ISO 3166-2 code, such as `IN-MH`; no code where it has none."""
    return f"{FIELDS['country_code'](record)}-{_state_code(record)}"


_OF_COUNTRY = ("continent_code", "country", "country_code")
_OF_CITY = (*_OF_COUNTRY, "state", "city", "postal_code", "location", "timezone")
_OF_ASN = ("asn", "as_organization")
_BY_WORD = {
    "Country": _OF_COUNTRY,
    "City": _OF_CITY,
    "ASN": _OF_ASN,
    "ISP": _OF_ASN,
    "Enterprise": (*_OF_CITY, *_OF_ASN),
}
_WORD = re.compile("|".join(_BY_WORD))


def offered(kind: str) -> tuple[str, ...]:
    """Give what a database of this type may know: `GeoLite2-City`, `DBIP-ASN-Lite`; else all."""
    words = set(_WORD.findall(kind))
    known = {field for word in words for field in _BY_WORD[word]}
    return tuple(field for field in FIELDS if field in known or not words)
