"""Parsers of what those send who send records."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson
from cramjam import zstd

from enricher.beats.frames import Event, Parser, Window
from enricher.beats.limits import Limits, Refused
from enricher.http import cut
from enricher.http.answers import Refusal
from enricher.http.inflate import Bounds, decoder
from enricher.model import Failure, Record
from enricher.moment import Converter, moment, to_epoch_ms, zone
from enricher.pii import KINDS
from enricher.pii.fold import fold
from enricher.pii.hiding import hasher, mask
from enricher.pii.scanner import Scanner
from enricher.stages.json import Json, JsonDecoder, is_bad
from tests.beats import wire
from tests.fuzz.target import Target

JSON_WORDS = [
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\n", b'""', b'"a":', b'"message":"{'),
    *(b"null", b"true", b"NaN", b"1e999", b"-0.0", b"9223372036854775808", b"-9223372036854775809"),
    *(
        b"\\ud800",
        b"\\u0000",
        b'".a":',
        b'"a..b":',
        b"\xff",
        b"\xef\xbb\xbf",
        b"123456789012345678901",
    ),
]
DECODER = JsonDecoder(Json(envelope="message", max_depth=8, max_bytes=2000))
_LONG = re.compile(rb"[0-9]{19}")


def run_json(data: bytes) -> None:
    """Together is as alone; what is decoded can be written, and is what the standard reads."""
    records = [Record(value, "id", None, "t/0", 0) for value in data.split(b"\x00\n")]
    for record, event in zip(records, DECODER(records), strict=True):
        alone = DECODER.decode_any(record.value)
        assert _same(event, alone), (event, alone)
        if isinstance(event, Failure):
            assert str(event)
            assert event.error.isidentifier()
            continue
        assert not any(is_bad(key) for key in _keys(event)), event
        again = orjson.loads(orjson.dumps(event))
        assert again == event
        if not _LONG.search(record.value) and b"message" not in record.value:
            assert json.loads(record.value) == event


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Failure) and isinstance(other, Failure):
        return (str(one), one.error) == (str(other), other.error)
    return bool(one == other)


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    for element in value if isinstance(value, list) else []:
        yield from _keys(element)


LIMITS = Limits(window=6, frame=1000, inflated=2000, ratio=20, ratio_from=800, record=80, pairs=4)


def run_lumberjack(data: bytes) -> None:
    """However they are cut, bytes are the same frames; or all are refused, sooner or later."""
    size, stream = max(1, data[0] if data else 1), data[1:]
    whole, refused = _frames([stream])
    for step in (size, 1):
        pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
        found, too = _frames(pieces)
        assert bool(too) == bool(refused), (too, refused)
        # Damage within what is compressed takes along what was inflated together with it.
        both = min(len(found), len(whole)) if refused else max(len(found), len(whole))
        assert found[:both] == whole[:both]
    for frame in whole:
        assert not isinstance(frame, Event) or len(frame.value) <= LIMITS.record + 1


def _frames(pieces: list[bytes]) -> tuple[list[Window | Event], str]:
    parser = Parser(LIMITS)
    found: list[Window | Event] = []
    for piece in pieces:
        parser.feed(piece)
        while not parser.hungry:
            try:
                found += parser.take(3, 128)
            except Refused as refused:
                return found, refused.reason
    return found, ""


def run_http_body(data: bytes) -> None:
    """What is cut, put together, is the body; what is refused is refused somewhere in it."""
    largest = 200
    lines = cut.lines(data, 1 << 20, largest)
    assert all(len(line) <= largest + 1 for line in lines)
    try:
        found = [one for some in cut.texts(data, 1 << 20, largest) for one in some]
    except Refusal as refusal:
        assert refusal.status in (400, 413)
        assert 0 <= refusal.place["byte"] <= len(data)
        assert refusal.place["line"] == data[: refusal.place["byte"]].count(b"\n") + 1
        return
    body = data
    for one in found:
        assert len(one) <= largest
        begin = body.index(one)
        assert not body[:begin].strip(b" \t\r\n[,"), "something was left out"
        body = body[begin + len(one) :]
    assert not body.strip(b" \t\r\n[]"), "something was left out"


def run_inflate(data: bytes) -> None:
    """However it is cut, a body inflates to the same bytes or is refused, within its bounds."""
    encoding = ("gzip", "deflate", "zstd")[data[0] % 3] if data else "gzip"
    whole = _inflated(encoding, [data[1:]])
    pieces = [data[at : at + 1] for at in range(1, len(data))]
    assert _inflated(encoding, pieces) == whole


def _inflated(encoding: str, pieces: list[bytes]) -> bytes | int:
    decode = decoder(encoding, Bounds(1 << 16, 20))
    made = b""
    try:
        for piece in pieces:
            for some in decode.feed(piece):
                made += some
                assert len(made) <= 1 << 16
        made += b"".join(decode.end())
    except Refusal as refusal:
        return refusal.status
    return made


ALL, HASHED = Scanner(list(KINDS.values()), mask), Scanner(list(KINDS.values()), hasher(b"key"))


def run_mask(data: bytes) -> None:
    """Twice is once, never longer; a text in an event is hidden as it is alone."""
    text = data.decode(errors="replace")
    masked = ALL.value(text)
    assert len(masked) <= len(text)
    assert ALL.value(masked) == masked
    hashed = HASHED.value(text)
    assert HASHED.value(hashed) == hashed
    event = {"a": [{"b": text}], "c": text}
    ALL.event(event)
    assert event == {"a": [{"b": masked}], "c": masked}
    if fold(text) != text:
        ALL.value(fold(text))


CONVERTERS = [Converter(zone(name)) for name in ("Asia/Kolkata", "Australia/Lord_Howe", "UTC")]


def run_timestamp(data: bytes) -> None:
    """Nothing but what `fromisoformat` reads, and what it means; met again, it is the same."""
    text = data.decode(errors="replace")
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        read = None
    for converter in CONVERTERS:
        try:
            converted = converter.convert(text)
        except (ValueError, OverflowError):
            assert read is None or read.year in (1, 9999), text
            continue
        assert read is not None, text
        back = datetime.fromisoformat(converted)
        wanted = read if read.tzinfo else read.replace(tzinfo=back.tzinfo)
        assert to_epoch_ms(back) // 1000 == to_epoch_ms(wanted) // 1000, (text, converted)
        assert converter.convert(text) == converted == Converter(converter.target).convert(text)
        found = moment(converted)
        assert found is not None
        assert (found.hour, found.year) == (back.hour, back.year)


OBJECT = b'{"a":1,"b":[1.5,null,{"c":"d"}],"e":"\\u20b9"}'
FRAMES = wire.batch([{"a": 1}, {"b": "x"}]) + wire.batch([{"c": 1}], compress=True)
PERSONAL = (
    b'ravi.kumar@okaxis 4111 1111 1111 1111 ABCPE1234F 2341-2341-2346 +91 98765 43210 "a@b.co"'
)
TARGETS = (
    Target("json", run_json, [OBJECT, OBJECT + b"\0\n" + OBJECT, b'{"message":"{\\"a\\":1}"}'], JSON_WORDS),
    Target(
        "lumberjack",
        run_lumberjack,
        [b"\x07" + FRAMES, b"\x03" + wire.window(1) + wire.data(1, {b"k": b"v"})],
        [b"2W", b"2J", b"2D", b"2C", b"\0\0\0\1", b"\xff\xff\xff\xff", zlib.compress(b"2J\0\0\0\1\0\0\0\0")],
    ),
    Target("http_body", run_http_body, [b"[" + OBJECT + b"," + OBJECT + b"]", OBJECT + b"\n" + OBJECT], JSON_WORDS),
    Target(
        "inflate",
        run_inflate,
        [
            b"\0" + gzip.compress(OBJECT, mtime=0) * 2,
            b"\1" + zlib.compress(OBJECT),
            b"\1" + zlib.compress(OBJECT)[2:-4],
            b"\2" + bytes(zstd.compress(OBJECT)),
        ],
        [b"\x1f\x8b\x08", b"\x78\x9c", b"\x28\xb5\x2f\xfd", bytes(8)],
    ),
    Target(
        "mask",
        run_mask,
        [PERSONAL, PERSONAL.replace(b" ", b"\xe2\x80\x8b")],
        [*PERSONAL.split(), b"@", b" ", b"-", "०१२३".encode(), b"\xe2\x80\x8b", b"\\n", b"%40", "＠".encode()],
    ),
    Target(
        "timestamp",
        run_timestamp,
        [b"2025-10-20T10:15:30.123456789Z", b"2025-10-20 10:15+05:30", b"2025-W43-1T10", b"20251020T101530,5-0530"],
        [b"2025", b"0001", b"9999", b"-10", b"-W43", b"T", b":15", b".123", b",5", b"Z", b"+05:30", b"-00:00:30", b"24:00"],
    ),
)  # fmt: skip
