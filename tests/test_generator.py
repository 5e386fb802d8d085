"""Check that generated events are the same everywhere, realistic, and as bad as promised."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice, pairwise
from typing import Any

import orjson
import pytest

from enricher.generator import DEAD_LETTER_CASES, GeneratedRecord, generate, hostile, users
from enricher.generator.hostile import CASES

IST = timezone(timedelta(hours=5, minutes=30))
MIB = 1 << 20
LIMITS = (100, 500, 2_000, 10_000, 50_000)
SHARES = {"payment-logs": 0.60, "order-logs": 0.15, "user-logs": 0.15, "fraud-logs": 0.10}
PAYMENT_FIELDS = {
    *("timestamp", "level", "service", "version", "environment", "hostname", "request_id"),
    *("trace_id", "user_id", "message", "error", "event_type", "business_critical"),
    *("requires_monitoring", "payment_id", "amount", "currency", "payment_method", "upi_vpa"),
    *("gateway", "status", "error_code", "user_tier", "ip_address", "user_agent"),
    *("processing_time_ms", "transaction_id", "gateway_ref", "request_source"),
}
# A change here changes every demonstration and benchmark: say so in the changelog.
FIRST_THOUSAND = "277c325b644a5493da0b80d22105e3852a9393c7dc88c65757925c7388c40333"


def opened(value: bytes) -> dict[str, Any]:
    """Return the event of a value, out of its envelope where it has one."""
    event = orjson.loads(value)
    assert isinstance(event, dict)
    if "@version" in event:
        event = orjson.loads(event["message"])
        assert isinstance(event, dict)
    return event


def moment(event: dict[str, Any]) -> datetime:
    """Return an event's time in India."""
    read = datetime.fromisoformat(event["timestamp"])
    return read.astimezone(IST) if read.tzinfo else read.replace(tzinfo=IST)


@pytest.fixture(scope="module")
def records() -> list[GeneratedRecord]:
    """Return enough records for shares to be close to what is meant."""
    return list(generate(20_000))


@pytest.fixture(scope="module")
def payments(records: list[GeneratedRecord]) -> list[dict[str, Any]]:
    """Return the events of the payment service."""
    return [opened(record.value) for record in records if record.topic == "payment-logs"]


def test_same_seed_gives_the_same_bytes() -> None:
    """Arguments alone decide, and another seed gives another series."""
    assert list(generate(300, seed=5)) == list(generate(300, seed=5))
    assert list(generate(300, seed=5)) != list(generate(300, seed=6))
    assert list(hostile(300, seed=5)) == list(hostile(300, seed=5))
    assert list(users(5)) == list(users(5))


def test_first_thousand_are_pinned() -> None:
    """Every machine and Python version gives these bytes."""
    digest = hashlib.sha256()
    for record in generate(1_000):
        digest.update(repr(tuple(record)).encode())
    assert digest.hexdigest() == FIRST_THOUSAND


def test_values_are_json_objects_within_the_limit(records: list[GeneratedRecord]) -> None:
    """Nothing that is not hostile would be refused."""
    for record in records:
        assert len(record.value) <= MIB
        assert isinstance(json.loads(record.value), dict)


def test_topics_have_their_shares(records: list[GeneratedRecord]) -> None:
    """Each topic has its part of the records and only its own services."""
    topics = Counter(record.topic for record in records)
    for topic, share in SHARES.items():
        assert topics[topic] / len(records) == pytest.approx(share, abs=0.02)
    services = {(record.topic, opened(record.value)["service"]) for record in records}
    assert services == {
        ("payment-logs", "payment-service"),
        ("order-logs", "order-service"),
        ("user-logs", "user-service"),
        ("fraud-logs", "fraud-detection"),
    }


def test_levels_have_their_shares(payments: list[dict[str, Any]]) -> None:
    """All levels occur; BUSINESS is 40 % of the payments and ERROR, with its object, 5 %."""
    levels = Counter(event["level"] for event in payments)
    assert set(levels) == {"DEBUG", "INFO", "WARN", "ERROR", "CRITICAL", "BUSINESS"}
    assert levels["BUSINESS"] / len(payments) == pytest.approx(0.40, abs=0.02)
    assert levels["ERROR"] / len(payments) == pytest.approx(0.05, abs=0.01)
    for event in payments:
        assert ("error" in event) == (event["level"] in ("ERROR", "CRITICAL"))
        assert ("event_type" in event) == (event["level"] == "BUSINESS")


def test_payments_have_every_documented_field(payments: list[dict[str, Any]]) -> None:
    """The fields are those of the domain, and no others."""
    assert set().union(*payments) == PAYMENT_FIELDS


def test_every_amount_category_and_limit_occurs(payments: list[dict[str, Any]]) -> None:
    """Each of the six categories has a fair part, and each limit is met exactly."""
    amounts = [event["amount"] for event in payments if event.get("amount") is not None]
    assert any("amount" in event and event["amount"] is None for event in payments)
    categories = Counter(sum(amount >= limit for limit in LIMITS) for amount in amounts)
    assert set(categories) == set(range(6))
    assert min(categories.values()) > len(amounts) / 500
    assert set(LIMITS) <= set(amounts)


def test_every_time_of_day_and_season_occurs(payments: list[dict[str, Any]]) -> None:
    """Business hours, night, early morning, Diwali and the days after it all have payments."""
    times = [moment(event) for event in payments]
    hours = Counter(time.hour for time in times)
    assert set(hours) == set(range(24))
    assert hours[20] > 4 * hours[3]
    diwali = sum((time.month, time.day) <= (11, 5) for time in times)
    assert 0.4 < diwali / len(times) < 0.7


def test_correlation_may_be_empty(payments: list[dict[str, Any]]) -> None:
    """Some request, trace and user ids and VPAs are empty strings, most are not."""
    for field in ("request_id", "trace_id", "user_id", "upi_vpa"):
        empty = sum(event.get(field) == "" for event in payments)
        assert 0 < empty < len(payments) / 10
    given = [event["request_id"] for event in payments if event["request_id"]]
    assert len(set(given)) == len(given)


def test_addresses_and_vpas_are_of_all_kinds(payments: list[dict[str, Any]]) -> None:
    """Home, abroad, private, IPv6, empty and absent addresses occur; so do VPAs in capitals."""
    addresses = {event.get("ip_address") for event in payments if "amount" in event}
    assert {"8.8.8.8", "81.2.69.160", "192.168.1.20", "2405:200::1", "", None} <= addresses
    handles = {event["upi_vpa"].rpartition("@")[2] for event in payments if "upi_vpa" in event}
    banks = {"oksbi", "okhdfcbank", "okicici", "okaxis", "paytm", "ybl", "upi"}
    assert banks < handles
    assert any(handle.isupper() for handle in handles)


def test_kafka_time_follows_the_event(records: list[GeneratedRecord]) -> None:
    """The Kafka timestamp is up to three seconds after the event's, and rises with jitter."""
    for record in records:
        late = record.timestamp / 1000 - moment(opened(record.value)).timestamp()
        assert -0.001 <= late <= 4
    times = [record.timestamp for record in records]
    assert all(later > earlier - 6_000 for earlier, later in pairwise(times))


def test_key_is_the_user(records: list[GeneratedRecord]) -> None:
    """The key is the user's id, so that a user's payments share a partition, or None."""
    for record in records:
        assert (record.key or b"").decode() == opened(record.value)["user_id"]


def test_some_records_are_enveloped(records: list[GeneratedRecord]) -> None:
    """Two in a hundred come as a shipper wraps them."""
    enveloped = sum("@version" in orjson.loads(record.value) for record in records)
    assert enveloped / len(records) == pytest.approx(0.02, abs=0.005)


@pytest.mark.parametrize("tz", [UTC, IST, None])
def test_start_and_days_bound_the_series(tz: timezone | None) -> None:
    """Records lie between the start and so many days after; a start without offset is Indian."""
    start = datetime(2026, 3, 1, 13, 30, tzinfo=tz)
    begin = (start if tz else start.replace(tzinfo=IST)).timestamp()
    times = [moment(opened(r.value)).timestamp() for r in generate(500, start=start, days=2)]
    assert begin - 1 <= times[0] < begin + 3
    assert max(times) < begin + 2 * 86_400 + 3
    assert max(times) > begin + 1.9 * 86_400


def test_users_know_nine_customers_in_ten() -> None:
    """Redis holds about 90 % of the customers as numbers under their keys, two of them broken."""
    stored = dict(users())
    assert len(stored) / 5_000 == pytest.approx(0.9, abs=0.02)
    broken = []
    for key, value in stored.items():
        try:
            user = json.loads(value)
        except json.JSONDecodeError:
            user = None
        if not isinstance(user, dict):
            broken.append(key)
            continue
        assert key.startswith("user:user-")
        assert isinstance(user["registration_days_ago"], int)
        assert isinstance(user["ltv_inr"], float)
        assert isinstance(user["total_transactions"], int)
    assert broken == ["user:user-00013", "user:user-00042"]


def test_users_and_events_agree(payments: list[dict[str, Any]]) -> None:
    """A customer's tier is the same in events and in Redis."""
    stored = dict(users())
    for event in payments:
        key = f"user:{event['user_id']}"
        if "user_tier" in event and key in stored and stored[key].endswith(b"}"):
            assert orjson.loads(stored[key])["tier"] == event["user_tier"]


def test_every_hostile_case_occurs_in_each_round() -> None:
    """As many records as there are cases show each once."""
    assert [record.case for record in hostile(len(CASES))] == list(CASES)
    assert set(CASES) > DEAD_LETTER_CASES


def depth_of(value: object) -> int:
    """Return the number of containers inside each other."""
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        inner, level = waiting.pop()
        if isinstance(inner, (dict, list)):
            deepest = max(deepest, level)
            members = inner.values() if isinstance(inner, dict) else inner
            waiting += [(member, level + 1) for member in members]
    return deepest


def refused(value: bytes) -> bool:
    """Return whether the rules on size, text, depth and keys refuse a value."""
    if len(value) > MIB:
        return True
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError:
        return True
    return not isinstance(event, dict) or depth_of(event) > 64 or has_bad_key(event)


def has_bad_key(value: object) -> bool:
    """Return whether a key is empty, or has an outer or doubled dot, also in an envelope."""
    if isinstance(value, list):
        return any(map(has_bad_key, value))
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("message"), str) and "@version" in value:
        return has_bad_key(orjson.loads(value["message"]))
    return any("" in key.split(".") or has_bad_key(inner) for key, inner in value.items())


@pytest.mark.parametrize("case", sorted(DEAD_LETTER_CASES))
def test_dead_letter_cases_are_refused(case: str) -> None:
    """Each variant breaks one of the rules by which a value is refused."""
    records = [record for record in hostile(len(CASES) * 64) if record.case == case]
    assert all(refused(record.value) for record in records)


@pytest.mark.parametrize(
    "case", ["depth_64", "full_mib", "duplicate_key", "edge_integer", "key_inner_dot", "wrong_type"]
)
def test_sound_cases_are_not_refused(case: str) -> None:
    """What is odd but allowed keeps every rule."""
    records = [record for record in hostile(len(CASES) * 64) if record.case == case]
    assert not any(refused(record.value) for record in records)


def test_sizes_stand_at_the_limit() -> None:
    """A value of exactly 1 MiB and one of a byte more occur."""
    sizes = {len(record.value) for record in hostile(len(CASES) * 3)}
    assert {MIB, MIB + 1} <= sizes


def test_hostile_large_values_are_shared() -> None:
    """Large values are few objects, however many records hold them."""
    large = [record.value for record in hostile(len(CASES) * 200) if len(record.value) > 100_000]
    assert len(large) > 400
    assert sum({id(value): len(value) for value in large}.values()) < 40 * MIB


def test_wrong_types_reach_every_field() -> None:
    """Each documented field is given a boolean, a list, an object, a number and a text."""
    kinds: dict[str, set[str]] = {}
    turns = (record for record in hostile(len(CASES) * 29 * 16) if record.case == "wrong_type")
    for record in islice(turns, 29 * 16):
        for field, value in orjson.loads(record.value).items():
            kinds.setdefault(field, set()).add(type(value).__name__)
    assert set(kinds) == PAYMENT_FIELDS
    assert all({"bool", "list", "dict", "int", "str"} <= found for found in kinds.values())
