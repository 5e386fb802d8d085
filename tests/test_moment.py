"""Times are read as `datetime.fromisoformat` reads them, and written with the same fraction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enricher.moment import _HOURS, LIMIT, Converter, epoch_us, hour_of, moment, to_epoch_ms, zone

IST = zone("Asia/Kolkata")
ZONES = [
    *("Asia/Kolkata", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"),
    *("Asia/Kathmandu", "America/St_Johns", "Africa/Casablanca", "Pacific/Apia"),
]
SINCE_1970 = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2025-10-20T10:15:30.123Z", "2025-10-20T15:45:30.123+05:30"),
        ("2025-10-20T10:15:30Z", "2025-10-20T15:45:30+05:30"),
        ("2025-10-20T18:30:00Z", "2025-10-21T00:00:00+05:30"),
        ("2025-10-20T15:45:30.5+05:30", "2025-10-20T15:45:30.5+05:30"),
        ("2025-10-20T06:15:30-04:00", "2025-10-20T15:45:30+05:30"),
        ("2025-10-20T15:45:30.100", "2025-10-20T15:45:30.100+05:30"),
        ("2025-10-20T15:45:30.000000", "2025-10-20T15:45:30.000000+05:30"),
        ("2025-10-20T10:15:30.123456789Z", "2025-10-20T15:45:30.123456789+05:30"),
        ("2025-10-20T10:15:30,25Z", "2025-10-20T15:45:30.25+05:30"),
        ("2025-10-20 10:15:30+00:00", "2025-10-20T15:45:30+05:30"),
        ("2025-10-20x10:15:30Z", "2025-10-20T15:45:30+05:30"),
        ("2025-10-20T10:15Z", "2025-10-20T15:45:00+05:30"),
        ("2025-10-20T10Z", "2025-10-20T15:30:00+05:30"),
        ("2025-10-20", "2025-10-20T00:00:00+05:30"),
        ("20251020", "2025-10-20T00:00:00+05:30"),
        ("20251020T101530Z", "2025-10-20T15:45:30+05:30"),
        ("20251020T101530.75Z", "2025-10-20T15:45:30.75+05:30"),
        ("20251020T1015+0000", "2025-10-20T15:45:00+05:30"),
        ("2025-W43-1T10:15:30Z", "2025-10-20T15:45:30+05:30"),
        ("2025W431", "2025-10-20T00:00:00+05:30"),
        ("2025-10-20T10:15:30+23:59", "2025-10-19T15:46:30+05:30"),
        ("2025-10-20T10:15:30.5+05:30:30", "2025-10-20T10:15:00.5+05:30"),
        ("1969-12-31T18:30:00Z", "1970-01-01T00:00:00+05:30"),
        ("1945-06-01T00:00:00Z", "1945-06-01T05:30:00+05:30"),
        ("1850-01-01T00:00:00", "1850-01-01T00:00:00+05:30"),
        ("0001-01-01T00:00:00", "0001-01-01T00:00:00+05:30"),
        ("0001-01-01T00:00:00+05:30", "0001-01-01T00:00:00+05:30"),
        ("9999-12-31T23:59:59.999999+05:30", "9999-12-31T23:59:59.999999+05:30"),
        ("9999-12-31T18:29:59Z", "9999-12-31T23:59:59+05:30"),
    ],
)
def test_every_form_is_read_and_the_fraction_kept(text: str, written: str) -> None:
    """Also when the hour is known from before, which takes another way."""
    converter = Converter(IST)
    assert [converter.convert(text) for _ in range(3)] == [written] * 3
    hour = moment(written)
    assert hour is not None
    local = datetime.fromisoformat(written)
    assert (hour.hour, hour.month_day, hour.year) == (
        local.hour, local.month * 100 + local.day, local.year,
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "yesterday", "1761040929118", "-1", "2025-13-01", "2025-02-29", "10:15:30"),
        *("2025-10-20T24:00:00Z", "2025-10-20T10:60:00Z", "2025-10-20T10:15:60Z", "20/10/2025"),
        *("2025-10-20T10:15:30 IST", "2025-10-20T10:15:30+99:99", "2025-10-20T10:15:30."),
        *("2025-10-20T10:15:30.1a3Z", "2025-10-20T10:15:30.١٢Z", "٢٠٢٥-10-20T10:15:30Z"),
        *("2025-10-20T10:15:3٠Z", "\u200e2025-10-20T10:15:30Z"),
        *("9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "2025-10-20T10:15:30ZZ"),
        *("2025-10-20T10:15:30Z" * 100, "2025-10-20T10:15:30.5.5Z", "2025-10-20T10:15:30z "),
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """Before and after its hour was seen."""
    converter = Converter(IST)
    for known in (False, True):
        if known:
            converter.convert("2025-10-20T10:15:30Z")
            converter.convert("2025-10-20T10:15:30+05:30")
        with pytest.raises((ValueError, OverflowError)):
            converter.convert(text)


def as_iso(time: datetime, digits: int, offset: tzinfo | None, *, zulu: bool) -> tuple[str, str]:
    """Write a time as a service would, and give its fraction."""
    fraction = f".{time.microsecond:06}000"[: digits + 1] if digits else ""
    tail = "Z" if zulu else time.replace(tzinfo=offset).isoformat()[26:] if offset else ""
    return f"{time.isoformat(timespec='seconds')}{fraction}{tail}", fraction


CONVERTERS = {name: Converter(zone(name)) for name in ZONES}


@settings(max_examples=200, deadline=None)
@given(
    times=st.lists(SINCE_1970, min_size=1, max_size=3),
    name=st.sampled_from(ZONES),
    digits=st.integers(0, 9),
    minutes=st.one_of(st.none(), st.integers(-1439, 1439)),
)
@example([datetime(2025, 10, 26, 0, 59, 59), datetime(2025, 10, 26, 1, 0)], "Europe/Berlin", 3, 0)
@example([datetime(2025, 4, 5, 14, 59), datetime(2025, 4, 5, 15, 1)], "Australia/Lord_Howe", 0, 0)
@example([datetime(2025, 10, 4, 15, 29), datetime(2025, 10, 4, 15, 31)], ZONES[3], 0, 0)
@example([datetime(2011, 12, 30, 9, 59), datetime(2011, 12, 30, 10, 1)], "Pacific/Apia", 0, 0)
def test_conversion_is_that_of_datetime(
    times: list[datetime], name: str, digits: int, minutes: int | None
) -> None:
    """Any time, offset and zone; the converter is shared, so that hours are met again."""
    offset = None if minutes is None else timezone(timedelta(minutes=minutes))
    zulu = minutes == 0
    converter = CONVERTERS[name]
    target = ZoneInfo(name)
    for time in [*times, *(one.replace(minute=59, second=59) for one in times), *times]:
        time = time.replace(microsecond=time.microsecond)
        text, fraction = as_iso(time.replace(microsecond=123456), digits, offset, zulu=zulu)
        local = time.replace(tzinfo=offset or target, microsecond=0).astimezone(target)
        whole = local.isoformat()
        converted = converter.convert(text)
        if local.year >= 1971 and time.year >= 1971:
            assert converted == f"{whole[:19]}{fraction}{whole[19:]}"
        hour = moment(converted)
        assert hour is not None
        read = datetime.fromisoformat(converted)
        assert hour.hour == read.hour
        assert hour.month_day == read.month * 100 + read.day
        assert hour.local.utcoffset() == read.utcoffset()
        start = to_epoch_ms(read.replace(minute=0, second=0, microsecond=0))
        assert hour.epoch_ms == start


@settings(max_examples=200, deadline=None)
@given(text=st.one_of(st.text(max_size=30), st.from_regex(r"[0-9TZW:+. ,-]{8,30}", fullmatch=True)))
def test_whatever_fromisoformat_reads_is_read(text: str) -> None:
    """No more and no less, but for what India's calendar cannot hold."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        with pytest.raises(ValueError):
            Converter(IST).convert(text)
        return
    try:
        converted = Converter(IST).convert(text)
    except OverflowError:
        assert read.year in (1, 9999)
        return
    back = datetime.fromisoformat(converted)
    aware = read if read.tzinfo else read.replace(tzinfo=IST)
    assert abs(to_epoch_ms(back) - to_epoch_ms(aware)) <= 1000


@settings(max_examples=200, deadline=None)
@given(epoch_ms=st.integers(-(10**13), 10**14), name=st.sampled_from(ZONES))
def test_broker_timestamps(epoch_ms: int, name: str) -> None:
    """To the millisecond, in any zone."""
    text = CONVERTERS[name].from_epoch_ms(epoch_ms)
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=epoch_ms)
    assert abs(to_epoch_ms(datetime.fromisoformat(text)) - epoch_ms) == 0
    if time.year >= 1970:
        assert text == time.astimezone(ZoneInfo(name)).isoformat(timespec="milliseconds")


@pytest.mark.parametrize("epoch_ms", [10**15, -(10**15), 2**63 - 1, -(2**63), 10**30])
def test_broker_timestamps_beyond_the_calendar(epoch_ms: int) -> None:
    """Refused in one way, whatever the platform's clock can hold."""
    with pytest.raises(OverflowError):
        Converter(IST).from_epoch_ms(epoch_ms)


@pytest.mark.parametrize("value", [None, 5, True, [], {}, "x", "2025-10-20T10:15:30", "2025-10-20"])
def test_what_has_no_offset_is_no_moment(value: object) -> None:
    """A stage that reads a time wants to know where it is."""
    assert moment(value) is None


def test_moments_are_shared_by_the_hour() -> None:
    """Times of one hour are one object, whichever way they came."""
    one = moment("2025-10-20T15:00:00+05:30")
    converted = Converter(IST).convert("2025-10-20T10:29:59.999Z")
    assert one is not None
    assert moment(converted) is one
    assert hour_of(datetime(2025, 10, 20, 15, 30, tzinfo=timezone(timedelta(hours=5.5)))) is one
    assert one.month_day == 1020


HOUR = "2025-10-20T15"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RESTS = st.text(":.-+0135", max_size=12)


@given(RESTS, st.sampled_from(["+05:30", "-05:30", "05:30", "Z", ""]))
@example(":30:15.123", "+05:30")
@example("", "+05:30")
@example(":30:15-0", "+05:30")
@example(":30:15+05:30", "-05:30")
def test_an_hour_that_is_known_by_a_texts_ends_is_its_own(rest: str, offset: str) -> None:
    """Whatever stands between them: it is no time, or one of this hour."""
    text = f"{HOUR}{rest}{offset}"
    assert moment(f"{HOUR}:00:00{offset}") is moment(f"{HOUR}:59:59.9{offset}")
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        assert moment(text) is None
        assert epoch_us(text) is None
    else:
        assert moment(text) is (hour_of(time) if time.tzinfo else None)
        since = (time - EPOCH) // timedelta(microseconds=1) if time.tzinfo else None
        assert epoch_us(text) == since


@pytest.mark.parametrize("known", ["2025-10-20T10:15:00", "2025-10-20T10:15:00Z"])
@pytest.mark.parametrize(
    "end",
    [
        "Z",
        "-05",
        "-0530",
        ":30.Z",
        ":30.1234567zZ",
        ":30.1234567٣Z",
        *(f":30.5{zone}" for zone in ("-0530", "-05", "", "Z")),
    ],
)
def test_other_forms_of_a_minute_that_is_known(known: str, end: str) -> None:
    """No offset is taken for a part of the fraction, and no end is missed."""
    converter = Converter(IST)
    converter.convert(known)
    text = f"2025-10-20T10:15{end}"
    assert converter.convert(text) == Converter(IST).convert(text)


def test_offsets_with_seconds() -> None:
    """Monrovia had one until 1972; of a broker's time before 1970 there is none."""
    monrovia = Converter(zone("Africa/Monrovia"))
    assert monrovia.convert("1971-01-01T00:00:00.5Z") == "1970-12-31T23:15:30.5-00:44:30"
    assert Converter(IST).from_epoch_ms(-(10**13)) == "1653-02-10T11:43:20.000+05:30"


@pytest.mark.parametrize("order", [1, -1])
def test_one_minute_in_several_zones(order: int) -> None:
    """What is remembered of a minute in one zone is not taken for another's."""
    converter = Converter(IST)
    texts = {
        "2025-10-20T10:15:30.123": "2025-10-20T10:15:30.123+05:30",
        "2025-10-20T10:15:30.123Z": "2025-10-20T15:45:30.123+05:30",
        "2025-10-20T10:15:30.123+01:00": "2025-10-20T14:45:30.123+05:30",
    }
    for text, converted in 2 * list(texts.items())[::order]:
        assert converter.convert(text) == converted


def test_memory_is_bounded() -> None:
    """However many times are seen, so many are kept."""
    converter = Converter(IST)
    start = datetime(2025, 10, 20, tzinfo=UTC)
    for number in range(LIMIT + 100):
        converter.convert((start + timedelta(hours=number)).isoformat())
    assert len(_HOURS) <= LIMIT
    assert len(converter._minutes) <= LIMIT


def test_unknown_zone() -> None:
    """The message says how a zone is written."""
    for name in ("India", "../etc/passwd", "", "\x00"):
        with pytest.raises(ValueError, match="write it like Asia/Kolkata"):
            zone(name)
