"""Times of events: read once, kept by the hour.

A wall-clock offset and a date hold for a whole hour, so they are worked out once an hour of event
time and looked up after that. `MOMENTS` maps the full text of a local time to its hour.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

LIMIT = 1 << 14
"""Entries that a cache here may hold before it starts again."""
_SECONDS = frozenset(f":{second:02}" for second in range(60))
_MINUTES = {f":{minute:02}": minute for minute in range(60)}
_TEXTS = tuple(f"{minute % 60:02}" for minute in range(120))
_SIGNS = frozenset("+-")
_FRACTION = re.compile(r".{7,11}[0-9:]*[.,]([0-9]+)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment:
    """One local hour: what stages and routes ask of a time."""

    __slots__ = ("epoch_ms", "hour", "local", "month_day", "year")

    def __init__(self, local: datetime) -> None:
        self.local = local.replace(minute=0, second=0, microsecond=0)
        self.hour = local.hour
        self.month_day = local.month * 100 + local.day
        self.year = local.year
        self.epoch_ms = to_epoch_ms(self.local)

    @staticmethod
    def exact_ms(text: str) -> int:
        """Give the milliseconds since the epoch of a time that was read before."""
        return to_epoch_ms(datetime.fromisoformat(text))


MOMENTS: dict[str, Moment] = {}


def to_epoch_ms(time: datetime) -> int:
    """Convert an aware time to milliseconds since the epoch, at any year."""
    delta = time - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """Load a time zone by its IANA name. Raises ValueError for one that does not exist."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError):
        raise ValueError(f'unknown time zone "{name}" (write it like Asia/Kolkata)') from None


def _steady(zone: tzinfo, text: str) -> tzinfo:
    """Use the offset of 1970 before 1970: older ones are local mean times such as +05:53:28."""
    if text[:4] >= "1970":
        return zone
    return timezone(zone.utcoffset(datetime(1970, 1, 2)) or timedelta())  # noqa: DTZ001


def read(text: str, default: tzinfo) -> datetime:
    """Read ISO 8601 as `datetime.fromisoformat` does; a time without an offset is `default`'s.

    Raises ValueError.
    """
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=default)


def moment(text: Any) -> Moment | None:
    """Give the hour of a time that carries an offset; None where the value is no such time."""
    found = MOMENTS.get(text) if type(text) is str else None
    if found is None and type(text) is str:
        try:
            time = datetime.fromisoformat(text)
            found = hour_of(time) if time.tzinfo else None
        except (ValueError, OverflowError):
            return None
        if found is not None:
            keep(text, found)
    return found


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


def keep(text: str, found: Moment) -> None:
    """Remember the hour of a text; the cache is bounded."""
    if len(MOMENTS) >= LIMIT:
        MOMENTS.clear()
    MOMENTS[text] = found


class Hour(NamedTuple):
    """How the times of one hour of some zone are written in the target zone."""

    shift: int
    """Minutes to add, 0 to 59; what goes over the hour is in `after`."""
    before: tuple[str, Moment]
    """`2025-10-20T15:` and its hour, for minutes that stay below 60."""
    after: tuple[str, Moment]
    offset: str


class Converter:
    """Converts ISO 8601 text to local ISO 8601 text, with the fraction that was given."""

    def __init__(self, target: tzinfo, default: tzinfo | None = None) -> None:
        self.target = target
        self.default = default or target
        self._hours: dict[str, Hour] = {}

    def convert(self, text: str) -> str:
        """Give `2025-10-20T15:45:30.123+05:30` for `2025-10-20T10:15:30.123Z`.

        Raises ValueError or OverflowError for a text that is no time within the calendar.
        """
        end = -1 if text[-1:] == "Z" else -6 if text[-6:-5] in _SIGNS else 0
        minute = _MINUTES.get(text[13:16])
        if end and minute is not None and text[16:19] in _SECONDS:
            rest = text[16:end]
            hour = self._hours.get(f"{text[:13]}{text[end:]}")
            if hour is not None and (
                len(rest) == 3 or (rest[3] == "." and rest[4:].isdigit() and rest.isascii())
            ):
                minute += hour.shift
                prefix, found = hour.before if minute < 60 else hour.after
                converted = f"{prefix}{_TEXTS[minute]}{rest}{hour.offset}"
                if len(MOMENTS) >= LIMIT:
                    MOMENTS.clear()
                MOMENTS[converted] = found
                return converted
        return self._convert_any(text, end)

    def _convert_any(self, text: str, end: int) -> str:
        time = read(text, _steady(self.default, text))
        local = time.astimezone(_steady(self.target, text))
        fraction = _FRACTION.match(text)
        whole = local.replace(microsecond=0).isoformat()
        converted = f"{whole[:-6]}.{fraction[1]}{whole[-6:]}" if fraction else whole
        keep(converted, hour_of(local))
        if end and text[10:11] == "T" and text[13:14] == text[16:17] == ":":
            self._remember(f"{text[:13]}{text[end:]}", time.replace(minute=0, second=0))
        return converted

    def _remember(self, key: str, start: datetime) -> None:
        """Keep how an hour is converted, where its offset does not change on the way."""
        try:
            first = start.astimezone(_steady(self.target, key))
            last = (start + timedelta(minutes=59, seconds=59)).astimezone(first.tzinfo)
        except OverflowError:
            return
        if first.utcoffset() != last.utcoffset() or first.second:
            return
        if len(self._hours) >= LIMIT:
            self._hours.clear()
        self._hours[key] = Hour(
            first.minute,
            (first.isoformat()[:14], hour_of(first)),
            (last.isoformat()[:14], hour_of(last)),
            first.isoformat()[-6:],
        )

    def from_epoch_ms(self, epoch_ms: int) -> str:
        """Convert a broker's timestamp. Raises OverflowError outside the calendar."""
        try:
            local = datetime.fromtimestamp(epoch_ms / 1000, self.target)
        except (OSError, ValueError) as error:
            raise OverflowError(str(error)) from None
        converted = local.isoformat(timespec="milliseconds")
        keep(converted, hour_of(local))
        return converted
