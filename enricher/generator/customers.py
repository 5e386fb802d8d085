"""Keep the 5,000 customers whose events are generated, and what Redis knows of them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from enricher.generator.dice import Dice, weighted
from enricher.generator.places import CITIES, address_in

if TYPE_CHECKING:
    from collections.abc import Iterator

CUSTOMERS = 5_000
MULES = 300
METHODS: Final = ("UPI", "CREDIT_CARD", "DEBIT_CARD", "WALLET", "NETBANKING")
BROKEN = {
    "user-00013": b'{"registration_days_ago": 12, "ltv_inr": 48',
    "user-00042": b"[410, 73210.5, 96]",
}
KNOWN_SHARE = 0.9

_DAYS = {"new": 30, "regular": 900, "gold": 2_000, "platinum": 3_500}
_TIERS = weighted({"new": 15, "regular": 55, "gold": 22, "platinum": 8})
_METHODS = weighted({"UPI": 62, "CREDIT_CARD": 14, "DEBIT_CARD": 12, "WALLET": 8, "NETBANKING": 4})
_HANDLES = weighted(
    {
        "oksbi": 16,
        "okhdfcbank": 16,
        "okicici": 13,
        "okaxis": 12,
        "paytm": 14,
        "ybl": 18,
        "upi": 5,
        "ibl": 3,
        "kotak811": 2,
        "axl": 1,
    }
)
_NAMES = (
    *("aarav", "aditi", "arjun", "deepika", "farhan", "gurpreet", "ishaan", "jaya", "kavya"),
    *("lakshmi", "manish", "meera", "neha", "priya", "rahul", "rohan", "sana", "suresh", "vikram"),
)
_AGENTS = (
    "ShopApp/8.4.1 (Android 15)",
    "ShopApp/8.4.1 (iOS 18.6)",
    "ShopApp/8.2.0 (Android 13)",
    "Mozilla/5.0 (Windows NT 10.0) Chrome/141",
)
_CITIES = weighted({city: city.weight for city in CITIES})


class Customer(NamedTuple):
    """Describe one customer, the same in events and in Redis."""

    user_id: str
    tier: str
    city: str
    address: str
    methods: tuple[str, ...]
    vpa: str
    user_agent: str
    registration_days_ago: int


def _customer(number: int, dice: Dice) -> Customer:
    city = dice.pick(_CITIES)
    tier = dice.pick(_TIERS)
    vpa = f"{dice.pick(_NAMES)}{number}@{dice.pick(_HANDLES)}"
    return Customer(
        user_id=f"user-{number:05d}",
        tier=tier,
        city=city.name,
        address=address_in(city, dice),
        methods=(dice.pick(_METHODS), dice.pick(_METHODS), "UPI"),
        vpa=vpa.upper() if dice.below(20) == 0 else vpa,
        user_agent=dice.pick(_AGENTS),
        registration_days_ago=dice.below(_DAYS[tier]),
    )


@lru_cache(maxsize=4)
def customers(seed: int) -> tuple[Customer, ...]:
    """Return all customers of a seed; the first pay most often."""
    dice = Dice(seed)
    return tuple(_customer(number, dice) for number in range(1, CUSTOMERS + 1))


def users(seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Yield the Redis key and value of about 90 % of the customers; two values are broken."""
    dice = Dice(seed)
    for customer in customers(seed):
        known = dice.random() < KNOWN_SHARE
        transactions = dice.below(1 + customer.registration_days_ago // 2)
        value = {
            "registration_days_ago": customer.registration_days_ago,
            "ltv_inr": transactions * (5_000 + dice.below(400_000)) / 100,
            "total_transactions": transactions,
            "tier": customer.tier,
            "city": customer.city,
        }
        if customer.user_id in BROKEN:
            yield f"user:{customer.user_id}", BROKEN[customer.user_id]
        elif known:
            yield f"user:{customer.user_id}", orjson.dumps(value)


@lru_cache(maxsize=4)
def mules(seed: int) -> tuple[Customer, ...]:
    """Return the accounts that were opened within the last week to pass money on."""
    dice = Dice(seed + 1)
    return tuple(
        _customer(number, dice)._replace(
            user_id=f"user-9{number:04d}",
            tier="new",
            methods=("WALLET",),
            registration_days_ago=dice.below(7),
        )
        for number in range(1, MULES + 1)
    )


def accounts(seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Yield what Redis knows besides `users`: payment methods of each user, and the mules."""
    for mule in mules(seed):
        value = {
            "registration_days_ago": mule.registration_days_ago,
            "ltv_inr": 0,
            "total_transactions": 0,
            "tier": mule.tier,
            "city": mule.city,
        }
        yield f"user:{mule.user_id}", orjson.dumps(value)
    for customer in (*customers(seed), *mules(seed)):
        methods = orjson.dumps(sorted(set(customer.methods)))
        yield f"user_payment_methods:{customer.user_id}", methods
