"""Spread events over days as shoppers do, and write times as services do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enricher.generator.dice import Dice

IST = timezone(timedelta(hours=5, minutes=30))
DEFAULT_START = datetime(2025, 10, 20, tzinfo=IST)
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
JITTER_MS = 2_000

# Parts of the day's traffic in each IST hour, from midnight on.
_TRAFFIC = (4, 2, 2, 1, 1, 2, 4, 6, 9, 12, 15, 16, 16, 15, 13, 13, 14, 16, 18, 20, 20, 17, 12, 8)
# Tables are quicker than formatting, and every record has a time.
_OF_HOUR = tuple(f"{second // 60:02d}:{second % 60:02d}" for second in range(3600))
_THOUSANDTHS = tuple(f".{number:03d}" for number in range(1000))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
IST_MS = 19_800_000

_MILLISECONDS = 0.80  # below it "…T….123Z"; what follows splits the rest
_SECONDS = 0.82
_MICROSECONDS = 0.85
_OFFSET = 0.95
_NAIVE = 0.99


def in_india(moment: datetime) -> datetime:
    """Return the moment with an offset; one without is taken as Indian time."""
    return moment if moment.tzinfo else moment.replace(tzinfo=IST)


class Calendar:
    """Turn an event's place in a series into its time.

    Args:
        start: time of the first event.
        days: length of the whole series.
        count: number of events in it.
    """

    def __init__(self, start: datetime, days: int, count: int) -> None:
        """Lay the day's traffic out from the start's hour on."""
        start = in_india(start).astimezone(IST)
        self._start = (start - _EPOCH) // timedelta(milliseconds=1)
        self._days_each = days / max(count, 1)
        hours = _TRAFFIC[start.hour :] + _TRAFFIC[: start.hour]
        self._slots = tuple(
            (hour * HOUR_MS + HOUR_MS * part // parts, HOUR_MS // parts)
            for hour, parts in enumerate(hours)
            for part in range(parts)
        )

    def milliseconds(self, index: int, dice: Dice) -> int:
        """Return the time of one event in ms since the epoch, jittered by up to two seconds."""
        place = index * self._days_each
        day = int(place)
        place = (place - day) * len(self._slots)
        slot = int(place)
        begin, length = self._slots[slot]
        after = begin + (place - slot) * length + dice.random() * JITTER_MS
        return self._start + day * DAY_MS + int(after)


def written(moment: int, dice: Dice) -> str:
    """Write a time, given in ms since the epoch, in one of the ways that services log it."""
    way = dice.random()
    if way < _MILLISECONDS:
        return _clock(moment) + "Z"
    if way < _SECONDS:
        return _clock(moment)[:-4] + "Z"
    if way < _MICROSECONDS:
        return f"{_clock(moment)}{dice.below(1000):03d}Z"
    if way < _OFFSET:
        return _clock(moment + IST_MS) + "+05:30"
    if way < _NAIVE:
        return _clock(moment + IST_MS)
    return _clock(moment).replace("T", " ") + "+00:00"


def _clock(moment: int) -> str:
    hours, rest = divmod(moment, HOUR_MS)
    seconds, milliseconds = divmod(rest, 1000)
    return f"{_hour(hours)}{_OF_HOUR[seconds]}{_THOUSANDTHS[milliseconds]}"


@lru_cache(maxsize=64)
def _hour(hours: int) -> str:
    return (_EPOCH + timedelta(hours=hours)).isoformat()[:14]
