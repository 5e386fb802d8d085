"""Tell how fraud looks in payments: each episode is a handful of events of one account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from enricher.generator.clock import DAY_MS, HOUR_MS, IST_MS
from enricher.generator.customers import METHODS, customers, mules
from enricher.generator.dice import repeated
from enricher.generator.payments import ERRORS, Event
from enricher.generator.places import ABROAD, CITIES, address_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from enricher.generator.customers import Customer
    from enricher.generator.dice import Dice

MINUTE_MS = 60_000
_AGENTS = ("okhttp/4.9.3", "python-requests/2.32.3", "Mozilla/5.0 (X11; Linux x86_64) Firefox/115")
_DECLINED = (*(error[0] for error in ERRORS), "CARD_DECLINED", "CVV_MISMATCH", "CARD_EXPIRED")
_FAILED: Final = {"event_type": "PAYMENT_FAILED", "message": "PAYMENT_FAILED", "status": "FAILED"}
_PAID: Final = {"event_type": "PAYMENT_SUCCESS", "message": "PAYMENT_SUCCESS", "status": "SUCCESS"}
_FAR: Final = {  # at least 1,000 km of land between one and the other
    "Mumbai": "Kolkata", "Kolkata": "Ahmedabad", "Chennai": "New Delhi", "New Delhi": "Bengaluru",
}  # fmt: skip
_CITY = {city.name: city for city in CITIES}


class Payment(NamedTuple):
    """One payment of an episode.

    Args:
        moment: ms since the epoch.
        customer: whose account it is.
        fields: what it has in place of what the customer's own payments have.
    """

    moment: int
    customer: Customer
    fields: Event


class Episode(NamedTuple):
    """What a fraud does, and in how many payments at the least and at the most."""

    name: str
    at_least: int
    at_most: int
    play: Callable[[int, int, int, Dice], list[Payment]]
    """Gives the payments: so many, from this time on (ms), with the customers of a seed."""


def _burst(count: int, moment: int, seed: int, dice: Dice) -> list[Payment]:
    # Stolen cards are tried with small amounts, until one works.
    victim = dice.pick(customers(seed))
    device: Event = {"user_agent": dice.pick(_AGENTS), "ip_address": dice.pick(ABROAD)}
    payments = []
    for _ in range(count):
        moment += 3_000 + dice.below(12_000)
        amount = 1 + dice.below(5_000) / 100
        method = dice.pick(("CREDIT_CARD", "DEBIT_CARD"))
        result = _PAID if dice.below(8) == 0 else _FAILED | {"error_code": dice.pick(_DECLINED)}
        fields = {**device, **result, "amount": amount, "payment_method": method}
        payments.append(Payment(moment, victim, fields))
    return payments


def _takeover(count: int, moment: int, seed: int, dice: Dice) -> list[Payment]:
    # At night, from a new device and place, by a method the user never had; far above the mean.
    victim = dice.pick(customers(seed))
    city = _CITY[dice.pick(tuple(_FAR))]
    address = dice.pick(ABROAD) if dice.below(2) else address_in(city, dice)
    unknown = dice.pick([method for method in METHODS if method not in victim.methods])
    device: Event = {"user_agent": dice.pick(_AGENTS), "ip_address": address}
    moment = _night(moment) + dice.below(3 * HOUR_MS)
    payments = []
    for _ in range(count):
        moment += MINUTE_MS + dice.below(9 * MINUTE_MS)
        amount = 20_000 + dice.below(8_000_000) / 100
        fields = {**device, **_PAID, "amount": amount, "payment_method": unknown}
        payments.append(Payment(moment, victim, fields))
    return payments


def _travel(count: int, moment: int, seed: int, dice: Dice) -> list[Payment]:
    # Two people pay from one account, too far apart for one to be in both places.
    victim = dice.pick(customers(seed))
    near = dice.pick(tuple(_FAR))
    first, second = address_in(_CITY[near], dice), address_in(_CITY[_FAR[near]], dice)
    places = (first, dice.pick(ABROAD) if dice.below(2) else second)
    payments = []
    for number in range(count):
        moment += MINUTE_MS + dice.below(12 * MINUTE_MS)
        amount = 2_000 + dice.below(2_000_000) / 100
        fields = {**_PAID, "amount": amount, "ip_address": places[number % 2]}
        payments.append(Payment(moment, victim, fields))
    return payments


def _mule(count: int, moment: int, seed: int, dice: Dice) -> list[Payment]:
    # A wallet of a few days passes large amounts on.
    mule = dice.pick(mules(seed))
    payments = []
    for _ in range(count):
        moment += 10 * MINUTE_MS + dice.below(2 * HOUR_MS)
        amount = 25_000 + (1 + dice.below(2_500_000)) / 100
        fields = {**_PAID, "amount": amount, "payment_method": "WALLET"}
        payments.append(Payment(moment, mule, fields | {"ip_address": mule.address}))
    return payments


def _night(moment: int) -> int:
    """Give the next 1:00 in India, in ms since the epoch."""
    day = (moment + IST_MS - HOUR_MS) // DAY_MS + 1
    return day * DAY_MS + HOUR_MS - IST_MS


EPISODES: Final = repeated(
    (
        (Episode("burst", 24, 45, _burst), 2),
        (Episode("takeover", 2, 6, _takeover), 4),
        (Episode("impossible_travel", 2, 5, _travel), 4),
        (Episode("mule", 2, 6, _mule), 3),
    )
)
