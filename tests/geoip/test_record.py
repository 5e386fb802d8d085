"""What databases of a type know."""

from __future__ import annotations

import pytest

from enricher.geoip.record import FIELDS, offered

COUNTRY = ("continent_code", "country", "country_code")
CITY = (*COUNTRY, "state", "city", "postal_code", "location", "timezone")
ASN = ("asn", "as_organization")


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("GeoLite2-City", CITY),
        ("GeoIP2-City-Asia-Pacific", CITY),
        ("DBIP-City-Lite", CITY),
        ("DBIP-Location (compat=City)", CITY),
        ("GeoLite2-Country", COUNTRY),
        ("DBIP-Country-Lite", COUNTRY),
        ("GeoLite2-ASN", ASN),
        ("DBIP-ASN-Lite (compat=GeoLite2-ASN)", ASN),
        ("GeoIP2-ISP", ASN),
        ("GeoIP2-Enterprise", (*CITY, *ASN)),
        ("DBIP-Location-ISP (compat=Enterprise)", (*CITY, *ASN)),
        ("ipinfo standard_location.mmdb", tuple(FIELDS)),
        ("", tuple(FIELDS)),
    ],
)
def test_the_type_says_what_may_be_asked(kind: str, fields: tuple[str, ...]) -> None:
    """MaxMind's names, and those of others that say what they are compatible with; else anything."""
    assert offered(kind) == fields
