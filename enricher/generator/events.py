"""Generate the records of the four topics, as a day of the shop would."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import orjson

from enricher.generator.activity import finding, order, user
from enricher.generator.clock import DEFAULT_START, Calendar, written
from enricher.generator.customers import customers
from enricher.generator.dice import Dice, weighted
from enricher.generator.payments import payment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

DELAY_MS = 3_000
ENVELOPE_SHARE = 0.02

_TOPICS = weighted(
    {
        ("payment-logs", payment): 60,
        ("order-logs", order): 15,
        ("user-logs", user): 15,
        ("fraud-logs", finding): 10,
    }
)


class GeneratedRecord(NamedTuple):
    """Hold what a producer would be given.

    Args:
        topic: name of the Kafka topic.
        key: the user's id, or None where the event names no user.
        value: a JSON object in UTF-8.
        timestamp: Kafka timestamp in ms since the epoch, up to 3 s after the event.
    """

    topic: str
    key: bytes | None
    value: bytes
    timestamp: int


def generate(
    count: int, seed: int = 1, start: datetime | None = None, *, days: int = 30
) -> Iterator[GeneratedRecord]:
    """Yield records in rising order of time, give or take seconds; the same for the same arguments.

    Args:
        count: number of records.
        seed: chooses the customers and everything they do.
        start: time of the first event, without an offset in Indian time; Diwali of 2025 by default.
        days: the records are spread over so many days, whatever their number.
    """
    dice = Dice(seed)
    crowd = customers(seed)
    calendar = Calendar(start or DEFAULT_START, days, count)
    random, pick, dumps = dice.random, dice.pick, orjson.dumps
    for index in range(count):
        moment = calendar.milliseconds(index, dice)
        place = random()
        customer = crowd[int(place * place * len(crowd))]  # squared: some pay far more often
        topic, make = pick(_TOPICS)
        event = make(written(moment, dice), customer, dice)
        value = dumps(event)
        if random() < ENVELOPE_SHARE:
            value = _envelope(value)
        key = customer.user_id.encode() if event["user_id"] else None
        yield GeneratedRecord(topic, key, value, moment + int(random() * (DELAY_MS + 1)))


def _envelope(value: bytes) -> bytes:
    return orjson.dumps(
        {
            "message": value.decode(),
            "@version": "1",
            "host": {"name": "shipper-02.bom1"},
            "tags": ["beats_input_codec_plain_applied"],
        }
    )
