"""Mix episodes of fraud into the payments of the shop, and say which payments they are."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

import orjson

from enricher.generator.clock import DEFAULT_START, Calendar, written
from enricher.generator.customers import customers
from enricher.generator.dice import Dice
from enricher.generator.episodes import EPISODES, Payment
from enricher.generator.events import DELAY_MS, GeneratedRecord
from enricher.generator.payments import business

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from enricher.generator.episodes import Episode
    from enricher.generator.payments import Event

LATE = 0.02
LATE_MS = 20_000
"""So much later than its time a record may be written, where it is late."""


class LabelledRecord(NamedTuple):
    """A record, and whether it is fraud.

    Args:
        record: a payment of the level BUSINESS.
        payment_id: of the payment.
        episode: kind of fraud it belongs to; None where it is none.
    """

    record: GeneratedRecord
    payment_id: str
    episode: str | None


def generate_fraud(
    count: int, share: float, seed: int = 1, start: datetime | None = None, *, days: int = 30
) -> Iterator[LabelledRecord]:
    """Yield payments in rising order of time, give or take 20 s; the same for the same arguments.

    Args:
        count: number of records.
        share: part of them that is fraud, from 0 to 1.
        seed: chooses the customers and everything they do.
        start: as of `generate`.
        days: as of `generate`; an episode that began may go on for a day after them.
    """
    dice = Dice(seed)
    calendar = Calendar(start or DEFAULT_START, days, count)
    waiting: list[tuple[int, int, LabelledRecord]] = []  # by when they are written
    number = 0
    for moment, episode, payments in _happenings(count, share, seed, calendar, dice):
        while waiting and waiting[0][0] < moment:
            yield heapq.heappop(waiting)[2]
        for payment in payments:
            number += 1
            late = dice.below(LATE_MS) if dice.random() < LATE else 0
            entry = (payment.moment + late, number, _labelled(payment, episode, late, dice))
            heapq.heappush(waiting, entry)
    while waiting:
        yield heapq.heappop(waiting)[2]


def _happenings(
    count: int, share: float, seed: int, calendar: Calendar, dice: Dice
) -> Iterator[tuple[int, str | None, list[Payment]]]:
    """Yield what begins when: a customer's payment, or an episode with all that belongs to it."""
    crowd = customers(seed)
    episode, wanted = _next_episode(dice)
    owed = 0  # payments that are to be fraud: enough of them make an episode
    for index in range(count):
        moment = calendar.milliseconds(index, dice)
        if int((index + 1) * share) > int(index * share):
            owed += 1
        else:
            place = min(dice.random(), dice.random())  # some pay more often, none all the time
            yield moment, None, [Payment(moment, crowd[int(place * len(crowd))], {})]
        if owed and (owed == wanted or index == count - 1):
            yield moment, episode.name, episode.play(owed, moment, seed, dice)
            owed = 0
            episode, wanted = _next_episode(dice)


def _next_episode(dice: Dice) -> tuple[Episode, int]:
    episode = dice.pick(EPISODES)
    return episode, episode.at_least + dice.below(episode.at_most - episode.at_least + 1)


def _labelled(payment: Payment, episode: str | None, late: int, dice: Dice) -> LabelledRecord:
    moment, customer, fields = payment
    event = business(written(moment, dice), customer, dice)
    if fields:
        event.update(fields)
        event["user_id"] = customer.user_id
        _agree(event, dice)
    key = customer.user_id.encode() if event["user_id"] else None
    delay = late + int(dice.random() * (DELAY_MS + 1))
    record = GeneratedRecord("payment-logs", key, orjson.dumps(event), moment + delay)
    return LabelledRecord(record, str(event["payment_id"]), episode)


def _agree(event: Event, dice: Dice) -> None:
    """Make the fields of an event agree with the method and the status that it was given."""
    failed = event["status"] == "FAILED"
    event["requires_monitoring"] = failed
    if event["payment_method"] != "UPI":
        event.pop("upi_vpa", None)
    if failed:
        event.pop("gateway_ref", None)
    else:
        event.pop("error_code", None)
        event.setdefault("gateway_ref", dice.identifier()[:12])
