"""Bytes become windows and events however they are cut; what is unsound is refused, once, cheaply."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enricher.beats.frames import Event, Parser, Window
from enricher.beats.limits import Limits, Refused

from . import wire

V2 = ord("2")
SMALL = Limits(window=6, frame=1000, inflated=2000, ratio=20, ratio_from=800, record=80, pairs=4)
MIB = 1 << 20


def parsed(pieces: Iterable[bytes], limits: Limits = Limits()) -> list[Window | Event]:
    parser = Parser(limits)
    found: list[Window | Event] = []
    for piece in pieces:
        parser.feed(piece)
        while not parser.hungry:
            found += parser.take()
    return found


def outcome(
    pieces: Iterable[bytes], limits: Limits, most: int = 3
) -> tuple[list[Window | Event], str]:
    """Parse, and give what came out and the refusal at its end; hold the bounds on the way."""
    parser = Parser(limits)
    found: list[Window | Event] = []
    # One inflated piece lies beside a frame that is kept whole.
    bound = 2 * (limits.record + 1 + 10) + 64 * 1024 + 48 * 1024
    for piece in pieces:
        parser.feed(piece)
        while not parser.hungry:
            try:
                some = parser.take(most, 128)
            except Refused as refused:
                with pytest.raises(Refused) as again:
                    parser.take()
                assert again.value is refused
                return found, refused.reason
            assert len(some) <= most
            found += some
        assert parser.held <= bound + len(piece)
    return found, ""


def cut(stream: bytes, places: Iterable[int]) -> Iterator[bytes]:
    begin = 0
    for place in sorted({place % (len(stream) + 1) for place in places}):
        yield stream[begin:place]
        begin = place
    yield stream[begin:]


values = st.binary(max_size=110)
pairs = st.dictionaries(st.binary(max_size=6), st.binary(max_size=6), max_size=4)
places = st.lists(st.integers(0, 1 << 16), max_size=12)


@st.composite
def batches(draw: st.DrawFn) -> tuple[bytes, list[Window | Event]]:
    """A sound stream, and what it means."""
    stream = b""
    meant: list[Window | Event] = []
    for _ in range(draw(st.integers(0, 4))):
        frames = []
        first = draw(st.integers(0, 1 << 31))
        contents = draw(st.lists(values | pairs, max_size=SMALL.window))
        meant.append(Window(V2, len(contents)))
        for number, content in enumerate(contents, first):
            if isinstance(content, bytes):
                frames.append(wire.event(number, content))
                meant.append(Event(number, content[: SMALL.record + 1]))
            else:
                frames.append(wire.data(number, content))
                texts = {
                    key.decode(errors="surrogateescape"): value.decode(errors="surrogateescape")
                    for key, value in content.items()
                }
                meant.append(Event(number, as_json(texts)[: SMALL.record + 1]))
        at = draw(st.integers(0, len(frames)))
        stream += wire.window(len(contents)) + b"".join(frames[:at])
        if draw(st.booleans()):
            stream += wire.compressed(b"".join(frames[at:]), level=draw(st.integers(0, 9)))
        else:
            stream += b"".join(frames[at:])
    return stream, meant


def as_json(texts: dict[str, str]) -> bytes:
    import json

    return json.dumps(texts, ensure_ascii=False).encode(errors="surrogateescape")


@given(batches(), places)
def test_any_cut_gives_the_same_frames(
    made: tuple[bytes, list[Window | Event]], where: list[int]
) -> None:
    stream, meant = made
    assert outcome(cut(stream, where), SMALL) == (meant, "")
    assert outcome([stream], SMALL) == (meant, "")
    assert outcome([stream[at : at + 1] for at in range(len(stream))], SMALL) == (meant, "")


@given(st.binary(max_size=400), places)
@example(b"2W\0\0\0\x012J\0\0\0\1\0\0\0\0", [])
@example(b"2W\xff\xff\xff\xff", [3])
@example(b"2C\0\0\0\0", [])
def test_any_bytes_give_frames_or_one_refusal(noise: bytes, where: list[int]) -> None:
    outcome(cut(noise, where), SMALL)


@given(batches(), st.randoms(use_true_random=False), places)
@settings(max_examples=300)
def test_a_damaged_stream_is_refused_at_the_same_frame_or_parsed(
    made: tuple[bytes, list[Window | Event]], dice: random.Random, where: list[int]
) -> None:
    """Of two cuts one may see a damage sooner, since zlib keeps what it inflated before it."""
    stream = bytearray(made[0])
    for _ in range(dice.randint(1, 4)):
        if stream:
            at = dice.randrange(len(stream))
            stream[at : at + dice.randint(0, 2)] = dice.randbytes(dice.randint(0, 2))
    whole, one = outcome([bytes(stream)], SMALL)
    parts, other = outcome(cut(bytes(stream), where), SMALL)
    shorter = min(len(whole), len(parts))
    assert whole[:shorter] == parts[:shorter]
    assert bool(one) == bool(other)
    if not one:
        assert whole == parts


def refusal(stream: bytes, limits: Limits = Limits()) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        parsed([stream], limits)
    return caught.value.reason, str(caught.value)


def test_windows_are_bounded() -> None:
    assert parsed([wire.window(16_384)]) == [Window(V2, 16_384)]
    assert refusal(wire.window(16_385))[0] == "window"
    assert refusal(wire.window(2**32 - 1)) == ("window", "a window of 4294967295 events")


def test_events_belong_to_a_window() -> None:
    assert refusal(wire.event(1, b"{}")) == ("window", "an event outside a window")
    assert refusal(wire.data(1, {b"a": b"b"}))[0] == "window"
    early = wire.window(2) + wire.event(1, b"{}") + wire.window(1)
    assert refusal(early) == ("window", "a window before the last one had its 1 more events")
    late = wire.batch([b"{}"]) + wire.event(2, b"{}")
    assert refusal(late)[0] == "window"


def test_what_stands_before_a_refusal_is_given_out_first() -> None:
    parser = Parser()
    parser.feed(wire.batch([b"1", b"2"]) + b"GET / HTTP/1.1\r\n")
    assert parser.take() == [Window(V2, 2), Event(1, b"1"), Event(2, b"2")]
    assert not parser.hungry
    with pytest.raises(Refused, match="begins with b'GET / '"):
        parser.take()


def test_tls_where_none_is_spoken_is_named() -> None:
    reason, text = refusal(b"\x16\x03\x01\x02\x00\x01\x00")
    assert reason == "protocol"
    assert text.startswith("TLS, where none is spoken")


def test_version_1_is_read_as_logstash_writes_it() -> None:
    """Its output lumberjack writes version 1 on windows and compressed frames, 2 on events."""
    frames = wire.compressed(wire.event(7, b"{}") + wire.event(8, b"[]"), version=b"1")
    assert parsed([wire.window(2, b"1") + frames]) == [
        Window(ord("1"), 2),
        Event(7, b"{}"),
        Event(8, b"[]"),
    ]
    assert refusal(wire.window(1) + wire.event(1, b"{}", version=b"3"))[0] == "protocol"


def test_compressed_frames_are_bounded() -> None:
    """As they are sent, inflated, and in the ratio of both; and they do not nest."""
    assert refusal(b"2C" + struct.pack(">I", (10 << 20) + 1))[0] == "frame"
    assert refusal(wire.compressed(wire.compressed(b"")))[0] == "nested"
    start = wire.window(64)
    noise = random.Random(1).randbytes(MIB)
    million = b"".join(wire.event(number, noise) for number in range(1, 64))
    assert len(parsed([start + wire.compressed(million[: 5 * (MIB + 10)], 1)])) == 6
    large = zlib.compress(million + b"2J" + struct.pack(">II", 64, 2 * MIB) + bytes(2 * MIB), 9)
    assert refusal(start + b"2C" + struct.pack(">I", len(large))[:4])[0] == "frame"
    inflated = Limits(frame=100 * MIB)
    assert refusal(start + wire.raw_compressed(large), inflated)[0] == "inflate"
    zeros = b"2J" + struct.pack(">II", 1, 5 * MIB) + bytes(5 * MIB)
    assert refusal(start + wire.compressed(zeros))[0] == "ratio"


def test_compressed_frames_are_whole() -> None:
    start, frames = wire.window(2), wire.event(1, b"{}") + wire.event(2, b"{}")
    payload = zlib.compress(frames)
    damaged = payload[:8] + b"\xff\xff" + payload[10:]
    for spoiled, text in (
        (damaged, "a damaged compressed frame"),
        (payload[:-1], "cut off"),
        (payload[:-1] + b"\0", "a damaged compressed frame"),
        (payload + b"\0", "bytes behind its end"),
        (zlib.compress(frames[:-1]), "ends inside another one"),
        (b"", "cut off"),
    ):
        reason, said = refusal(start + wire.raw_compressed(spoiled))
        assert (reason, text in said) == ("inflate", True), said


def test_a_long_event_is_cut_and_blocks_nothing() -> None:
    """One byte more than a record may have shows that it was cut; what follows is read on."""
    value = b"x" * (3 * MIB)
    stream = wire.batch([value, b"{}"])
    for pieces in ([stream], [stream[at : at + 4096] for at in range(0, len(stream), 4096)]):
        found = parsed(pieces)
        assert found == [Window(V2, 2), Event(1, value[: MIB + 1]), Event(2, b"{}")]
    assert refusal(wire.window(1) + b"2J" + struct.pack(">II", 1, 65 << 20))[0] == "frame"


def test_data_frames_become_json() -> None:
    """Names and texts as they are; what is no UTF-8 is kept for the decoder to refuse."""
    frames = wire.data(1, {b"line": 'a "₹"\n'.encode(), b"": b"", b"line.x": b"\0"})
    found = parsed([wire.window(2) + frames + wire.data(2, {b"line": b"\xff"})])
    assert isinstance(found[1], Event)
    assert orjson.loads(found[1].value) == {"line": 'a "₹"\n', "": "", "line.x": "\0"}
    assert found[2] == Event(2, b'{"line": "\xff"}')


def test_data_frames_are_bounded() -> None:
    start = wire.window(1) + b"2D"
    assert refusal(start + struct.pack(">II", 1, 1025))[0] == "frame"
    assert refusal(start + struct.pack(">III", 1, 1, 2**32 - 1))[0] == "frame"
    long = struct.pack(">III", 1, 2, 0) + struct.pack(">I", MIB - 100) + bytes(MIB - 100)
    assert refusal(start + long + struct.pack(">I", 200))[0] == "frame"


def test_a_bomb_costs_no_memory() -> None:
    """A gibibyte of zeros in a mebibyte is refused at its start; sound frames beside it as well."""
    packer = zlib.compressobj(9)
    zeros = bytes(16 << 20)
    head = b"2J" + struct.pack(">II", 1, 60 << 20)
    payload = packer.compress(head) + b"".join(packer.compress(zeros) for _ in range(64))
    payload += packer.flush()
    assert len(payload) < 2 * MIB
    stream = wire.window(16_384) + wire.raw_compressed(payload)
    tracemalloc.start()
    try:
        parser = Parser()
        parser.feed(stream)
        with pytest.raises(Refused):
            while not parser.hungry:
                parser.take()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(stream) + 4 * MIB


def test_a_compressed_frame_that_is_cut_off_is_refused_at_its_last_byte() -> None:
    """However it comes: its sender does not wait for a time-out."""
    payload = zlib.compress(wire.event(1, b"{}"))[:-4]
    stream = wire.window(1) + wire.raw_compressed(payload)
    for size in (1, 7, len(stream)):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert outcome(pieces, SMALL)[1] == "inflate"
