"""What was compressed is given back, in any pieces, and never more than may be."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from itertools import pairwise

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.http.answers import Refusal
from enricher.http.inflate import FREE, Bounds, decoder

MIB = 1 << 20
BOUNDS = Bounds(8 * MIB, 100)


def deflate_raw(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


def gzip_twice(data: bytes) -> bytes:
    return gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :])


def zstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data))


ENCODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip of two members": ("GZIP", gzip_twice),
    "deflate": ("deflate", zlib.compress),
    "deflate without a header": ("deflate", deflate_raw),
    "zstd": ("zstd", zstd),
    "zstd of two frames": ("zstd", lambda data: zstd(data) + zstd(b"")),
    "none": ("", bytes),
    "identity": (" identity ", bytes),
}
COMPRESSED = [name for name in ENCODERS if name not in ("none", "identity")]


def inflated(encoding: str, *pieces: bytes, bounds: Bounds = BOUNDS) -> bytes:
    decode = decoder(encoding, bounds)
    return b"".join([one for piece in pieces for one in decode.feed(piece)] + list(decode.end()))


def refused(encoding: str, data: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        inflated(encoding, data)
    return caught.value


@pytest.mark.parametrize("name", ENCODERS)
@given(
    data=st.binary() | st.binary(min_size=1).map(lambda b: b * 3000),
    cuts=st.sets(st.integers(2, 300)),
)
def test_what_was_compressed_comes_back(name: str, data: bytes, cuts: set[int]) -> None:
    """However the network cuts it."""
    encoding, encode = ENCODERS[name]
    sent = encode(data)
    places = [0, *sorted(cuts), len(sent)]
    pieces = [sent[begin:end] for begin, end in pairwise(places) if sent[begin:end]]
    assert inflated(encoding, *pieces) == data


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_bomb_is_refused_before_it_is_there(name: str) -> None:
    """Of a bomb no more is inflated than a body may have, and no more than its ratio."""
    encoding, encode = ENCODERS[name]
    bomb = encode(bytes(128 * MIB))
    decode = decoder(encoding, BOUNDS)
    given_out = 0
    with pytest.raises(Refusal, match="inflates to more than") as caught:  # noqa: PT012
        for at in range(0, len(bomb), 64 << 10):
            given_out += sum(map(len, decode.feed(bomb[at : at + (64 << 10)])))
        given_out += sum(map(len, decode.end()))
    assert caught.value.status == 413
    assert given_out <= 8 * MIB


@pytest.mark.parametrize("name", COMPRESSED)
def test_the_ratio_counts_beyond_the_first_mebibyte(name: str) -> None:
    """Alike lines shrink a thousandfold; a small body of them is nobody's business."""
    encoding, encode = ENCODERS[name]
    assert len(inflated(encoding, encode(bytes(FREE)))) == FREE
    assert refused(encoding, encode(bytes(FREE + 1))).status == 413
    generous = Bounds(8 * MIB, 10**6)
    assert len(inflated(encoding, encode(bytes(8 * MIB)), bounds=generous)) == 8 * MIB
    with pytest.raises(Refusal):
        inflated(encoding, encode(bytes(8 * MIB + 1)), bounds=generous)


@pytest.mark.parametrize("name", COMPRESSED)
@given(data=st.binary(max_size=200), junk=st.binary(max_size=50), keep=st.integers(0, 300))
def test_any_bytes_inflate_or_are_refused(name: str, data: bytes, junk: bytes, keep: int) -> None:
    """Cut off, continued with anything, or made of anything: 400 with the place, or a body."""
    encoding, encode = ENCODERS[name]
    for sent in (encode(data)[:keep] + junk, junk):
        try:
            inflated(encoding, sent)
        except Refusal as error:
            assert error.status == 400
            assert 0 <= error.place["byte"] <= len(sent)


@pytest.mark.parametrize("name", COMPRESSED)
def test_what_is_cut_off_is_refused(name: str) -> None:
    encoding, encode = ENCODERS[name]
    sent = encode(b'{"a": 1}' * 100)
    for length in range(1, len(sent)):
        if name == "zstd of two frames" and length == len(zstd(b'{"a": 1}' * 100)):
            continue  # one frame, whole
        if name == "gzip of two members" and length == len(gzip.compress(b'{"a": 1}' * 50)):
            continue
        assert refused(encoding, sent[:length]).status == 400


def test_many_empty_members_cost_no_more_than_their_bytes() -> None:
    """Twenty bytes a member, each with a stream of its own: nothing is copied again and again."""
    assert inflated("gzip", gzip.compress(b"") * 20_000) == b""


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "compress", "zlib", "*"])
def test_an_encoding_that_is_not_known_is_told_what_is(encoding: str) -> None:
    error = refused(encoding, b"")
    assert error.status == 415
    assert error.headers == {"Accept-Encoding": "gzip, deflate, zstd"}
