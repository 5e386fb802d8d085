"""Generated fraud: the same everywhere, as much as was asked for, and what it claims to be."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import orjson
import pytest

from enricher.generator import LabelledRecord, accounts, generate, generate_fraud, users
from enricher.generator.customers import customers, mules
from enricher.stages.base import Context
from enricher.stages.geoip import Geoip

from .test_generator import FIRST_THOUSAND, PAYMENT_FIELDS, moment, opened

COUNT, SHARE = 20_000, 0.05
# A change here changes every demonstration and benchmark: say so in the changelog.
FIRST_THOUSAND_WITH_FRAUD = "586d1e001376aa992420c44e9c9f76b15c9f3165500e0a80c48cd2fdb9c4f496"


@pytest.fixture(scope="module")
def history() -> list[LabelledRecord]:
    """Return a history with every kind of episode in it, several times."""
    return list(generate_fraud(COUNT, SHARE, seed=3))


@pytest.fixture(scope="module")
def episodes(history: list[LabelledRecord]) -> dict[str, list[list[dict[str, Any]]]]:
    """Return the events of each episode in order of time, by its kind."""
    by_user: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for record, _, episode in history:
        if episode:
            event = opened(record.value)
            by_user[episode, event["user_id"]].append(event)
    found: dict[str, list[list[dict[str, Any]]]] = defaultdict(list)
    for (episode, _), events in by_user.items():
        events.sort(key=moment)
        parts = [[events[0]]]
        for before, event in pairwise(events):
            if moment(event) - moment(before) > timedelta(hours=6):
                parts.append([])
            parts[-1].append(event)
        found[episode] += parts
    return found


def test_same_seed_gives_the_same_bytes() -> None:
    """Every machine and Python version gives these; without fraud nothing is other than before."""
    digest = hashlib.sha256()
    for labelled in generate_fraud(1_000, 0.1):
        digest.update(repr(labelled).encode())
    assert digest.hexdigest() == FIRST_THOUSAND_WITH_FRAUD
    assert list(generate_fraud(300, 0.1, seed=5)) != list(generate_fraud(300, 0.1, seed=6))
    plain = hashlib.sha256()
    for record in generate(1_000):
        plain.update(repr(tuple(record)).encode())
    assert plain.hexdigest() == FIRST_THOUSAND


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_as_many_records_and_frauds_as_asked_for(share: float) -> None:
    records = list(generate_fraud(3_000, share))
    assert len(records) == 3_000
    assert sum(episode is not None for _, _, episode in records) == int(3_000 * share)
    assert len({payment_id for _, payment_id, _ in records}) == 3_000


def test_events_are_payments_that_are_scored(history: list[LabelledRecord]) -> None:
    """The fields are the domain's, the level BUSINESS, and the label names the event."""
    for record, payment_id, _ in history:
        event = opened(record.value)
        assert event.keys() <= PAYMENT_FIELDS
        assert (event["service"], event["level"]) == ("payment-service", "BUSINESS")
        assert event["payment_id"] == payment_id
        assert record.topic == "payment-logs"
        assert (event["status"] == "FAILED") == ("error_code" in event)
        assert event["payment_method"] == "UPI" or "upi_vpa" not in event


def test_times_rise_give_or_take_seconds() -> None:
    """Some are out of order, none by more than a late record may be."""
    times = [moment(opened(r.record.value)) for r in generate_fraud(20_000, 0.05, days=1)]
    latest = times[0]
    behind = []
    for time in times:
        latest = max(latest, time)
        behind.append((latest - time).total_seconds())
    assert 0 < max(behind) < 25
    assert sum(one > 5 for one in behind) > 100


def test_a_burst_is_many_small_payments_in_minutes(
    episodes: dict[str, list[list[dict[str, Any]]]],
) -> None:
    for events in episodes["burst"][:-1]:  # the last may be cut short by the end of the history
        assert len(events) >= 24
        assert moment(events[-1]) - moment(events[0]) < timedelta(minutes=15)
        assert max(event["amount"] for event in events) < 60


def test_a_takeover_is_unlike_its_user(episodes: dict[str, list[list[dict[str, Any]]]]) -> None:
    """At night, by a method and from a device and an address that the user never had."""
    known = {customer.user_id: customer for customer in customers(3)}
    assert len(episodes["takeover"]) > 10
    for event in sum(episodes["takeover"], []):
        customer = known[event["user_id"]]
        assert event["payment_method"] not in customer.methods
        assert event["user_agent"] != customer.user_agent
        assert event["ip_address"] != customer.address
        assert event["amount"] >= 20_000
        assert moment(event).hour in range(1, 6)


def test_nobody_travels_that_fast(episodes: dict[str, list[list[dict[str, Any]]]]) -> None:
    """The packaged database places one payment and the next far apart; minutes lie between."""
    place = placed()
    assert len(episodes["impossible_travel"]) > 10
    for events in episodes["impossible_travel"]:
        for before, event in pairwise(events):
            assert moment(event) - moment(before) < timedelta(minutes=15)
            assert kilometres(place(before), place(event)) > 800


def placed() -> Callable[[dict[str, Any]], tuple[float, float]]:
    """Build the function that gives latitude and longitude of an event, in radians."""
    stage: Any = Geoip(field="ip_address", location="place").compile(Context())

    def place(event: dict[str, Any]) -> tuple[float, float]:
        copy = dict(event)
        stage(copy)
        return math.radians(copy["place"]["lat"]), math.radians(copy["place"]["lon"])

    return place


def kilometres(one: tuple[float, float], other: tuple[float, float]) -> float:
    (north, east), (other_north, other_east) = one, other
    across = math.cos(north) * math.cos(other_north) * math.sin((other_east - east) / 2) ** 2
    return 12_742 * math.asin(math.sqrt(math.sin((other_north - north) / 2) ** 2 + across))


def test_mules_are_new_and_pass_large_amounts_on(
    episodes: dict[str, list[list[dict[str, Any]]]],
) -> None:
    fresh = {mule.user_id: mule.registration_days_ago for mule in mules(3)}
    assert min(fresh.values()) == 0
    assert max(fresh.values()) < 7
    assert len(episodes["mule"]) > 10
    for event in sum(episodes["mule"], []):
        assert event["user_id"] in fresh
        assert event["payment_method"] == "WALLET"
        assert event["amount"] > 25_000


def test_redis_knows_the_methods_of_everybody_and_who_is_new() -> None:
    """What the generator's customers pay by is known, and no mule stands for a customer."""
    known = {key: orjson.loads(value) for key, value in accounts(3)}
    for customer in (*customers(3), *mules(3)):
        assert set(known[f"user_payment_methods:{customer.user_id}"]) == set(customer.methods)
    for mule in mules(3):
        assert known[f"user:{mule.user_id}"]["registration_days_ago"] < 7
    assert known.keys().isdisjoint(key for key, _ in users(3))
