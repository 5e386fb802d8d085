"""Make values that are no JSON, no object, or JSON at the edge of what is allowed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import orjson

from enricher.generator.events import generate
from enricher.generator.specimen import FIELDS, MIB, enveloped, specimen, with_field, with_members

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from enricher.generator.dice import Dice

    Case = Callable[[int, Dice], bytes]

_NOT_JSON = (
    *(b"payment accepted", b"<payment amount='5'/>", b"a=1 b=2", b"---\namount: 5\n", b"{", b"}"),
    *(b"{'amount': 5}", b"{amount: 5}", b'{"amount": 5,}', b'{"amount": 5 /* INR */}'),
    *(b'{"amount": 05}', b'{"amount": +5}', b'{"amount": 0x1F}', b'{"amount": .5}'),
    *(b'{"amount": 5.}', b'{"amount": 1_000}', b'{"amount": True}', b'{"amount": undefined}'),
    *(b'{"a": 1}{"b": 2}', b'{"a": 1}\n{"b": 2}', b'{"a": 1} end', b'{"a" 1}', b'{"a": "b" "c"}'),
    *(b'{"a": "line\nfeed"}', b'{"a": "nul\x00"}', b'{"a": "\\x41"}', b'{"a": "\\u12"}'),
    *(b"\xef\xbb\xbf{}", b"\x1f\x8b\x08\x00{}", b"\x00\x00\x00\x00\x07{}", b"\x00" * 64),
)
_FORMS = (
    *("utf-16", "utf-16-be", "utf-32"),
    *(b"\xff", b"\xfe\xff", b"\x80", b"\xc0\xaf", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x92"),
    *(b"\xed\xa0\x80", b"\xed\xa0\xbd\xed\xb2\xa9", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80"),
)
_NO_NUMBER = (b"NaN", b"Infinity", b"-Infinity", b"[1,NaN]", b'{"x":-Infinity}')
_OVERFLOW = (b"1e400", b"-1e400", b"1E99999", b"[1e309]")
_NO_OBJECT = (
    *(b"[]", b"[1,2,3]", b'[{"amount": 5}]', b"null", b"true", b"false", b"0", b"-1.5e3"),
    *(b'""', b'"text"', b'"{\\"amount\\": 5}"', b"  null  "),
)
_BLANK = (b"", b" ", b"\n", b"\r\n\t ")
_SURROGATES = (
    *(rb'"m":"\ud800"', rb'"m":"\udfff"', rb'"m":"\udc00\ud800"', rb'"m":"\ud83dx"'),
    *(rb'"\ud800":1', rb'"m":["\uDBFF"]', rb'"m":{"\udead":{}}', rb'"user_id":"u\ud800"'),
)
_DUPLICATES = (
    *(b'"amount":1,"amount":2', b'"amount":1,"amount":"x","amount":75000.5'),
    *(rb'"amount":1,"\u0061mount":99', b'"error":{"type":"a","type":"b"}'),
    *(b'"service":"order-service","service":"payment-service"', b'"a":{"x":1},"a":[1]'),
    *(b'"timestamp":"2025-10-22T00:00:00Z","timestamp":null', b'"message":"{}","message":"x"'),
)
_SHAPES = ((b'{"a":', b"1", b"}"), (b'{"a":[', b"1", b"]}"), (b"[", b"", b"]"), (b'{"":', b"", b""))
_MUTATIONS = 3
_SOME_EVENTS = 256


def in_turn(values: Sequence[bytes]) -> Case:
    """Return a case that gives the values themselves, one after the other."""
    return lambda turn, _dice: values[turn % len(values)]


def in_fields(values: Sequence[bytes], fields: Sequence[str] = FIELDS) -> Case:
    """Return a case that puts every value into every field in turn."""

    def case(turn: int, dice: Dice) -> bytes:
        field, value = divmod(turn, len(values))
        return with_field(fields[field % len(fields)], values[value], dice)

    return case


def as_members(members: Sequence[bytes], *, enveloping: bool = True) -> Case:
    """Return a case that adds members to a payment: at its top, nested, in a list, enveloped."""
    places = (b"%b", b'"context":{%b}', b'"items":[{%b}]', b"")[: 3 + enveloping]

    def case(turn: int, dice: Dice) -> bytes:
        turn, index = divmod(turn, len(members))
        place = places[turn % len(places)]
        value = with_members((place or b"%b") % members[index], specimen(dice))
        return value if place else enveloped(value.decode())

    return case


def _truncated(_turn: int, dice: Dice) -> bytes:
    value = orjson.dumps(specimen(dice))
    return value[: 1 + dice.below(len(value) - 1)]


def _not_utf8(turn: int, dice: Dice) -> bytes:
    form = _FORMS[turn % len(_FORMS)]
    if isinstance(form, str):
        return orjson.dumps(specimen(dice)).decode().encode(form)
    return with_field(dice.pick(FIELDS), b'"' + form + b'"', dice)


@cache
def _nested(depth: int, shape: int) -> bytes:
    # The object itself is the first level, so that depth 64 is the last one allowed.
    begin, middle, end = _SHAPES[shape]
    times = (depth - 1) // 2 if begin.endswith(b":[") else depth - 1
    odd = b'{"o":%b}' if begin.endswith(b":[") and (depth - 1) % 2 else b"%b"
    return (
        b'{"service":"payment-service","deep":'
        + odd % (begin * times + middle + end * times)
        + b"}"
    )


def nested(depth: int) -> Case:
    """Return a case of objects and lists so many levels deep, the outermost object counted."""
    shapes = 3 if depth <= 1000 else 4  # the fourth is never closed
    return lambda turn, _dice: _nested(depth, turn % shapes)


@cache
def _sized(size: int, turn: int) -> bytes:
    head, tail = b'{"service":"payment-service","message":"', b'"}'
    filler = (b"x", b"\xe2\x82\xb9 1 ", b'\\"', b"{[")[turn]
    room = size - len(head) - len(tail)
    return head + filler * (room // len(filler)) + b"x" * (room % len(filler)) + tail


def sized(*sizes: int) -> Case:
    """Return a case of valid events of exactly these sizes in bytes."""
    return lambda turn, _dice: _sized(sizes[turn % len(sizes)], turn % 4)


@cache
def _events() -> tuple[bytes, ...]:
    return tuple(record.value for record in generate(_SOME_EVENTS, seed=7))


def _mutated(_turn: int, dice: Dice) -> bytes:
    value = bytearray(dice.pick(_events()))
    for _ in range(1 + dice.below(_MUTATIONS)):
        at = dice.below(len(value))
        kind = dice.below(4)
        if kind == 0:
            value[at] ^= 1 << dice.below(8)
        elif kind == 1:
            value[at] = dice.below(256)
        elif kind == 2:
            del value[at : at + 1 + dice.below(9)]
        else:
            value[at:at] = value[at // 2 : at // 2 + dice.below(30)]
    return bytes(value)


TEXT_CASES: dict[str, Case] = {
    "not_json": in_turn(_NOT_JSON),
    "truncated": _truncated,
    "not_utf8": _not_utf8,
    "nan_infinity": in_fields(_NO_NUMBER, ("amount", "processing_time_ms", "timestamp", "extra")),
    "float_overflow": in_fields(_OVERFLOW, ("amount", "timestamp", "processing_time_ms", "extra")),
    "not_object": in_turn(_NO_OBJECT),
    "blank": in_turn(_BLANK),
    "lone_surrogate": as_members(_SURROGATES, enveloping=False),
    "duplicate_key": as_members(_DUPLICATES),
    "depth_64": nested(64),
    "depth_65": nested(65),
    "depth_1000": nested(1000),
    "depth_100000": nested(100_000),
    "full_mib": sized(MIB),
    "above_mib": sized(MIB + 1, MIB + 1000, MIB * 3 // 2),
    "mutated": _mutated,
}
