"""Times of events: read once, kept by the minute.

A wall-clock offset and a date hold for a whole minute, so they are worked out once a minute and
looked up after that. `MOMENTS` maps the full text of a local ISO 8601 time to its minute.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

LIMIT = 1 << 14
"""Entries that a cache here may hold before it starts again."""
_SECONDS = frozenset(f":{second:02}" for second in range(60))
_FRACTION = re.compile(r".{7,11}[0-9:]*[.,]([0-9]+)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment:
    """One local minute: what stages and routes ask of a time."""

    __slots__ = ("epoch_ms", "hour", "local", "month_day", "year")

    def __init__(self, local: datetime) -> None:
        self.local = local
        self.hour = local.hour
        self.month_day = local.month * 100 + local.day
        self.year = local.year
        self.epoch_ms = to_epoch_ms(local.replace(second=0, microsecond=0))

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
    """Give the minute of a time that carries an offset; None where the value is no such time."""
    found = MOMENTS.get(text) if type(text) is str else None
    if found is None and type(text) is str:
        try:
            time = datetime.fromisoformat(text)
            found = Moment(time) if time.tzinfo else None
        except (ValueError, OverflowError):
            return None
        if found is not None:
            keep(text, found)
    return found


def keep(text: str, found: Moment) -> None:
    """Remember the minute of a text; the cache is bounded."""
    if len(MOMENTS) >= LIMIT:
        MOMENTS.clear()
    MOMENTS[text] = found


class Converter:
    """Converts ISO 8601 text to local ISO 8601 text, with the fraction that was given."""

    def __init__(self, target: tzinfo, default: tzinfo | None = None) -> None:
        self.target = target
        self.default = default or target
        self._minutes: dict[str, tuple[str, str, Moment]] = {}

    def convert(self, text: str) -> str:
        """Give `2025-10-20T15:45:30.123+05:30` for `2025-10-20T10:15:30.123Z`.

        Raises ValueError or OverflowError for a text that is no time within the calendar.
        """
        if text[-1:] == "Z" and text[16:19] in _SECONDS:
            rest = text[16:-1]
            known = self._minutes.get(text[:16])
            if known is not None and (
                len(rest) == 3 or (rest[3] == "." and rest[4:].isdigit() and rest.isascii())
            ):
                converted = f"{known[0]}{rest}{known[1]}"
                if len(MOMENTS) >= LIMIT:
                    MOMENTS.clear()
                MOMENTS[converted] = known[2]
                return converted
        return self._convert_any(text)

    def _convert_any(self, text: str) -> str:
        time = read(text, _steady(self.default, text))
        local = time.astimezone(_steady(self.target, text))
        fraction = _FRACTION.match(text)
        offset = local.isoformat()[-6:]
        if fraction:
            converted = f"{local.replace(tzinfo=None, microsecond=0).isoformat()}.{fraction[1]}{offset}"
        else:
            converted = local.replace(microsecond=0).isoformat()
        self._remember(text, local, offset, converted)
        return converted

    def _remember(self, text: str, local: datetime, offset: str, converted: str) -> None:
        found = Moment(local)
        keep(converted, found)
        canonical = text[-1:] == "Z" and text[10:11] == "T" and text[13:14] == text[16:17] == ":"
        if canonical and local.utcoffset() == local.replace(second=0).utcoffset():
            if len(self._minutes) >= LIMIT:
                self._minutes.clear()
            self._minutes[text[:16]] = (converted[:16], offset, found)

    def from_epoch_ms(self, epoch_ms: int) -> str:
        """Convert a broker's timestamp. Raises OverflowError outside the calendar."""
        try:
            local = datetime.fromtimestamp(epoch_ms / 1000, self.target)
        except (OSError, ValueError) as error:
            raise OverflowError(str(error)) from None
        converted = local.isoformat(timespec="milliseconds")
        keep(converted, Moment(local))
        return converted
