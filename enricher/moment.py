"""Times of events: read once, kept by the hour.

A wall-clock offset holds for a whole minute and a date for a whole hour, so they are worked out
once and looked up after that. `LAST` is the time at hand: whoever asks for the hour of an event's
time asks right after the stage that wrote it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from enricher.inline import define

LIMIT = 1 << 13
"""Entries that a cache here may hold before it starts again."""
_CANONICAL = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})?"
)
"""A time whose first 16 characters stand for a minute that is converted as a whole."""
_SECONDS = re.compile(r":[0-9]{2}(?:\.[0-9]+)?")
_MINUTE = timedelta(minutes=1)
_SIGNS = frozenset("+-")
_USUAL = (
    "minutes.get(text[:16]) if text[-1:] == 'Z' and "
    "(len(text) == 20 or (21 < len(text) < 28 and text[19] == '.')) else None"
)
"""`fromisoformat` lets anything follow the sixth digit of a fraction."""
_NAIVE = "?"
"""Stands for the zone of a time that names none."""
validate = datetime.fromisoformat
_FRACTION = re.compile(r".{7,11}[0-9:]*[.,]([0-9]+)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment:
    """One local hour: what stages and routes ask of a time."""

    __slots__ = ("epoch_ms", "hour", "local", "month_day", "year")

    def __init__(self, local: datetime) -> None:
        offset = timezone(local.utcoffset() or timedelta())  # a zone's may change within the hour
        self.local = local.replace(minute=0, second=0, microsecond=0, tzinfo=offset, fold=0)
        self.hour = local.hour
        self.month_day = local.month * 100 + local.day
        self.year = local.year
        self.epoch_ms = to_epoch_ms(self.local)

    @staticmethod
    def exact_ms(text: str) -> int:
        """Give the milliseconds since the epoch of a time that was read before."""
        return to_epoch_ms(datetime.fromisoformat(text))


LAST: list[Any] = [None, None]
"""The text that was written or read last, and its hour. Plans run on one thread, so that these
two belong together."""


@lru_cache(maxsize=LIMIT)
def epoch_us(text: str) -> int | None:
    """Read the microseconds since the epoch; None for what is no time from 2000 to 2100."""
    try:
        since_us = exact_us(text)
    except (ValueError, TypeError, OverflowError):  # such as a time without an offset
        return None
    return since_us if since_us in _KNOWN_US else None


def exact_us(text: str) -> int:
    """Read the microseconds since the epoch, of any year.

    Raises ValueError for what is no time, TypeError for one without an offset, and OverflowError at
    the calendar's ends.
    """
    time = validate(text)
    hour = _HOURS_OF_TEXT.get((text[:13], text[-6:] if text[-1:] != "Z" else "Z"))
    if hour is not None:
        since_s = time.minute * 60 + time.second
        return hour.epoch_ms * 1000 + since_s * 1_000_000 + time.microsecond
    _learn(text, time)
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_KNOWN_US = range(946_684_800_000_000, 4_133_980_800_000_000)
"""The years 2000 to 2100, in microseconds."""


def to_epoch_ms(time: datetime) -> int:
    """Convert an aware time to milliseconds since the epoch, at any year."""
    delta = time - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """Load a time zone by its IANA name. Raises ValueError for one that does not exist."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError(f'unknown time zone "{name}" (write it like Asia/Kolkata)') from None


def _steady(zone: tzinfo, text: str) -> tzinfo:
    """Use the offset of 1970 before 1970: older ones are local mean times such as +05:53:28."""
    if text[:4] >= "1970":
        return zone
    return timezone(zone.utcoffset(datetime(1970, 1, 2)) or timedelta())  # noqa: DTZ001


def _in_zone(time: datetime, target: tzinfo) -> datetime:
    """Convert a time; at the calendar's ends one that stands in the zone already is kept."""
    try:
        return time.astimezone(target)
    except OverflowError:
        if time.utcoffset() != target.utcoffset(time.replace(tzinfo=None)):
            raise
        return time.replace(tzinfo=target)


def read(text: str, default: tzinfo) -> datetime:
    """Read ISO 8601 as `datetime.fromisoformat` does; a time without an offset is `default`'s.

    Raises ValueError.
    """
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=default)


def moment(text: Any) -> Moment | None:
    """Give the hour of a time that carries an offset; None where the value is no such time."""
    if text is LAST[0]:
        found: Moment | None = LAST[1]
        return found
    if type(text) is not str:
        return None
    try:
        time = validate(text)
        found = _HOURS_OF_TEXT.get((text[:13], text[-6:] if text[-1:] != "Z" else "Z"))
        found = found or _learn(text, time)
    except (ValueError, OverflowError):
        return None
    LAST[0], LAST[1] = text, found
    return found


def _learn(text: str, time: datetime) -> Moment | None:
    """Give the hour of a time that a text was read as; None without an offset."""
    found = hour_of(time) if time.tzinfo else None
    zone = "Z" if text[-1:] == "Z" else text[-6:]
    if found and _CANONICAL.fullmatch(text) and (zone == "Z" or zone[0] in _SIGNS):
        if len(_HOURS_OF_TEXT) >= LIMIT:
            _HOURS_OF_TEXT.clear()
        _HOURS_OF_TEXT[text[:13], zone] = found
    return found


_HOURS_OF_TEXT: dict[tuple[str, str], Moment] = {}
"""By `2025-10-20T15` and `+05:30` or `Z`: whatever text begins and ends so, and is a time, lies in
this hour."""
_HOURS: dict[tuple[object, ...], Moment] = {}


def hour_of(time: datetime) -> Moment:
    """Give the hour that a time lies in; the same object for the same hour, while it is kept."""
    key = (time.year, time.month, time.day, time.hour, time.utcoffset())
    found = _HOURS.get(key)
    if found is None:
        if len(_HOURS) >= LIMIT:
            _HOURS.clear()
        found = _HOURS[key] = Moment(time)
    return found


class Converter:
    """Converts ISO 8601 text to local ISO 8601 text, with the fraction that was given."""

    def __init__(self, target: tzinfo, default: tzinfo | None = None) -> None:
        self.target = target
        self.default = default or target
        minutes: dict[str, tuple[str, str, Moment]] = {}
        """By `2025-10-20T10:15` and `Z` or offset: `2025-10-20T15:45`, `+05:30`, the hour."""
        self._minutes = minutes
        self.usual = define(("text",), _USUAL, {"minutes": minutes})
        """Gives the minute of a text that ends in Z, where that is known and no more is to be
        checked than that `datetime.fromisoformat` takes the text; else None."""

    def convert(self, text: str) -> str:
        """Give `2025-10-20T15:45:30.123+05:30` for `2025-10-20T10:15:30.123Z`.

        Raises ValueError or OverflowError for a text that is no time within the calendar.
        """
        zone = "" if text[-1:] == "Z" else text[-6:] if text[-6:-5] in _SIGNS else _NAIVE
        known = self._minutes.get(text[:16] + zone)
        rest = text[16 : -len(zone) or -1] if zone != _NAIVE else text[16:]
        if known is None or not _SECONDS.fullmatch(rest):  # such as `-05`, and `:30.5-0530`
            return self._convert_any(text)
        validate(text)
        prefix, offset, LAST[1] = known
        converted = LAST[0] = f"{prefix}{rest}{offset}"
        return converted

    def _convert_any(self, text: str) -> str:
        time = read(text, _steady(self.default, text))
        local = _in_zone(time, _steady(self.target, text))
        fraction = _FRACTION.match(text)
        whole = local.replace(microsecond=0).isoformat()
        converted = f"{whole[:19]}.{fraction[1]}{whole[19:]}" if fraction else whole
        found = hour_of(local)
        LAST[:] = converted, found
        if _CANONICAL.fullmatch(text) and not local.utcoffset() % _MINUTE:  # type: ignore[operator]
            if len(self._minutes) >= LIMIT:
                self._minutes.clear()
            zone = "" if text[-1] == "Z" else text[-6:] if text[-6] in _SIGNS else _NAIVE
            self._minutes[text[:16] + zone] = (whole[:16], whole[-6:], found)
        return converted

    def from_epoch_ms(self, epoch_ms: int) -> str:
        """Convert a broker's timestamp. Raises OverflowError outside the calendar."""
        try:
            time = _EPOCH + timedelta(milliseconds=epoch_ms)  # a float would lose a millisecond
            local = time.astimezone(_steady(self.target, time.isoformat()))
        except (OSError, ValueError) as error:
            raise OverflowError(str(error)) from None
        converted = local.isoformat(timespec="milliseconds")
        LAST[:] = converted, hour_of(local)
        return converted
