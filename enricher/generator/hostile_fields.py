"""Make JSON objects whose keys and values are out of order for the stages behind."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import orjson

from enricher.generator.hostile_text import as_members, in_fields
from enricher.generator.specimen import FIELDS, enveloped, specimen, with_field, with_members

if TYPE_CHECKING:
    from enricher.generator.dice import Dice
    from enricher.generator.hostile_text import Case

_LONG_MAX = (1 << 63) - 1
_INTEGERS = (
    *(_LONG_MAX + 1, -_LONG_MAX - 2, (1 << 64) - 1, 1 << 64, -(1 << 64)),
    *(10**19, 10**20 + 7, 10**25 + 1, 10**99, -(10**100) - 1, 10**399 + 3),
)
_EDGES = (_LONG_MAX, -_LONG_MAX - 1, 10**18, 1_234_567_890_123_456_789, -(10**18) - 1)
_NUMERIC = ("amount", "processing_time_ms", "user_id", "timestamp", "extra")
_TEXT_NUMBERS = (
    *("499.50", "12499", "-12.5", "1e3", "0", "-0", "00012.50", " 12 ", "+5", ".5", "5.", "1E-7"),
    *(
        "",
        " ",
        "abc",
        "12,000",
        "₹500",
        "1_000",
        "0x10",
        "\u0967\u0968\u0969",
        "\uff11\uff12",
        "12 INR",
        "--5",
        "1e",
        "\u0663",
    ),
    *("NaN", "inf", "-Infinity", "1e400", "9" * 19, "9" * 400, "true", "null", "12\n", "1\u00002"),
)
_WRONG = (
    *(b"true", b"false", b"null", b"[]", b"{}", b"5", b"-1.5", b'"abc"', b'""', b"[null]"),
    *(b'["UPI"]', b'{"value":5}', b"[[1],[2]]", b'{"a":{"b":{"c":[]}}}', b"1e308", b'"\\u0000"'),
)
_TIMES = (
    *("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"),
    *(
        "0001-01-01T00:00:00",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
    ),
    *(
        "2025-02-29T00:00:00Z",
        "2024-02-29T23:59:60Z",
        "2025-10-21T24:00:00Z",
        "2025-13-01T00:00:00Z",
    ),
    *("2025-10-21T10:00:00+99:99", "2025-10-21T10:00:00+23:59", "2025-10-21T10:00:00-23:59:59"),
    *("2025-10-21T10:00:00.123456789Z", "2025-10-21T10:00:00,5+0530", "20251021T100000Z"),
    *("2025-W43-2", "2025-W43-2T10:00:00Z", "2025-10-21", "2025-10-21 10:00", "2025-10-21T10Z"),
    *("2025-10-21x10:00:00Z", "2025-10-21T10:00:00 +05:30", "2025-10-21T10:00:00 IST", "now"),
    *("21/10/2025 10:00", "Oct 21 2025", "Tue, 21 Oct 2025 10:00:00 GMT", "1761040929118", "-1"),
    *(
        "\u0968\u0966\u0968\u096b-\u0967\u0966-21T10:00:00Z",
        "2025-10-21T10:00:00Z\x00",
        "\u200e2025-10-21T10:00:00Z",
        "",
        " ",
    ),
    *("2025-10-21T10:00:00Z" * 500, "2262-04-11T23:47:16.854775808Z", "1899-12-31T00:00:00Z"),
)
_RAW_TIMES = (
    b"0",
    b"-1",
    b"1761040929",
    b"1761040929118",
    b"1e18",
    b"1.5",
    b"true",
    b"{}",
    b"[2025]",
)
_ADDRESSES = (
    *("999.1.1.1", "1.2.3", "1.2.3.4.5", "01.02.03.04", "0x7f.1", "2130706433", "1.2.3.4:443"),
    *(
        "::",
        "::1",
        "fe80::1%eth0",
        "2001:db8::1",
        "::ffff:8.8.8.8",
        "1::2::3",
        "[::1]",
        "8.8.8.8/32",
    ),
    *("0.0.0.0", "255.255.255.255", "224.0.0.1", "100.64.0.1", "unknown", "-", "٨.٨.٨.٨"),  # noqa: S104
    *(" 8.8.8.8", "8.8.8.8, 10.0.0.1", "8.8.8.8\n", "8.8.8.8\x00", "localhost", "1" * 5000),
)
_VPAS = (
    *("name", "@", "name@", "@oksbi", "a@b@oksbi", "a@oksbi@", "a@OKHDFCBANK", "a@123", "a@ybl9"),
    *(
        "a@paytm.in",
        "a@ oksbi",
        "a@ōksbi",
        "a@\u017fbi",
        "a@\u212a",
        "a@oksbi\n",
        "@" * 9000,
        "a@" + "x" * 9000,
    ),
)
_INJECTIONS = (
    *("{user_id}", "{amount.__class__}", "{0}", "{", "}}", "%{level}", "%{[@metadata][x]}", "%s%n"),
    *("${HOME}", "${env:PATH}", "$(id)", "`id`", "{{ 7*7 }}", "<%= 1 %>", "${jndi:ldap://x/a}"),
    *("a\r\nBcc: victim@example.org", "a\nb", "\r", "../../etc/passwd", "..", ".", "a/b\\c"),
    *(
        "a*b?",
        'q"<>|,#',
        ",",
        " lead",
        "-x",
        "_x",
        "+x",
        "UPPER",
        "a:b",
        "é₹😀",
        "x" * 256,
        "_bulk",
    ),
    *(
        "<script>alert(1)</script>",
        "' OR 1=1 --",
        "user:*\r\nFLUSHALL",
        '"}\n{"delete":{}}',
        "\x1b[2J",
    ),
)
_INJECTED = (
    *("request_id", "user_id", "service", "level", "error_code", "payment_method", "amount"),
    *("trace_id", "upi_vpa", "event_type", "user_tier", "message", "hostname", "timestamp"),
)
_OWN_FIELDS = (
    *(b'"@timestamp":"never"', b'"geoip":"Mumbai"', b'"geo_country":5', b'"geo_state":["a"]'),
    *(b'"fraud_risk_score":99', b'"fraud_indicators":"all"', b'"requires_manual_review":"yes"'),
    *(b'"user_data":[]', b'"tags":"one"', b'"tags":[1,null,{}]', b'"_id":"x","_index":"y"'),
    *(b'"processed_at":{}', b'"processed_by":["z"]', b'"business_region":{}', b'"pipeline":0'),
    *(b'"geoip.location":"0,0"', b'"geoip":{"location":{"lat":900,"lon":"x"}}', b'"@metadata":{}'),
)
_INNER = (
    *(
        "{}",
        "[1]",
        "5",
        "null",
        '"text"',
        "",
        " {} ",
        "{",
        '{"a":NaN}',
        '{"a":1}{"b":2}',
        "\ufeff{}",
    ),
    *(
        '{"message":"human"}',
        '{"message":{}}',
        '{"message":null,"level":"ERROR"}',
        '{"a":"\\ud800"}',
    ),
    *('{"timestamp":5,"service":"order-service"}', '{"@version":"2","@timestamp":1}', '{"":1}'),
    *('{"n":123456789012345678901234567890}', '{"a":' * 70 + "1" + "}" * 70, '{"a":1,"a":2}'),
)
_BIG_OBJECT = 10_000
_LENGTHS = (8_192, 32_766, 32_767, 300_000, 900_000)


def _texts(*texts: str) -> tuple[bytes, ...]:
    return tuple(map(orjson.dumps, texts))


def _digits(*numbers: int) -> tuple[bytes, ...]:
    return tuple(str(number).encode() for number in numbers)


def _in_envelope(turn: int, dice: Dice) -> bytes:
    event = specimen(dice)
    if turn % 4 == 0:
        return enveloped(_INNER[turn // 4 % len(_INNER)])
    if turn % 4 == 1:
        event["message"] = _INNER[turn // 4 % len(_INNER)]
        return orjson.dumps(event)
    value = orjson.dumps(event)
    for _ in range(turn % 5 + 1):  # each level doubles the backslashes
        value = enveloped(value.decode())
    return value


@cache
def _many_keys(nested: bool) -> bytes:
    keys = {f"key_{number:05d}": number for number in range(_BIG_OBJECT)}
    return orjson.dumps({"service": "payment-service", **({"all": keys} if nested else keys)})


@cache
def _long(field: str, length: int) -> bytes:
    if field == "key":
        return orjson.dumps({"service": "payment-service", "k" * length: 1})
    return orjson.dumps({"service": "payment-service", "level": "ERROR", field: "z" * length})


def _long_text(turn: int, _dice: Dice) -> bytes:
    field, length = divmod(turn, len(_LENGTHS))
    fields = ("message", "request_id", "user_id", "key", "upi_vpa", "error_code")
    return _long(fields[field % len(fields)], _LENGTHS[length])


def _surrogate_in_envelope(_turn: int, dice: Dice) -> bytes:
    return enveloped(with_field("user_id", rb'"u\ud800"', dice).decode())


def _partial(_turn: int, dice: Dice) -> bytes:
    event = {field: value for field, value in specimen(dice).items() if dice.below(2)}
    return orjson.dumps(event)


def _clash(turn: int, dice: Dice) -> bytes:
    # A dotted key meets a field or an object of that name, or a list mixes types.
    clashes = (b'"error.type":"x"', b'"a":1,"a.b":2', b'"a.b":1,"a":{"b":2}', b'"a":[1,"x",{}]')
    return with_members(clashes[turn % len(clashes)], specimen(dice))


FIELD_CASES: dict[str, Case] = {
    "big_integer": in_fields(_digits(*_INTEGERS), _NUMERIC),
    "edge_integer": in_fields(_digits(*_EDGES), _NUMERIC),
    "surrogate_in_envelope": _surrogate_in_envelope,
    "key_empty": as_members((b'"":1', b'"":{}', b'"":null')),
    "key_outer_dot": as_members((b'".":1', b'".a":1', b'"a.":1', b'"a..b":1', b'"...":{}')),
    "key_inner_dot": as_members((b'"a.b":1', b'"a.b.c":{"d.e":[]}', b'"kubernetes.pod.name":"p"')),
    "key_nul": as_members((rb'"\u0000":1', rb'"a\u0000b":1', rb'"user_id\u0000":"x"')),
    "key_strange": as_members(
        (b'"_id":1', b'"__proto__":{}', b'" ":1', rb'"\n":1', b'"*":1', b'"0":1')
    ),
    "key_clash": _clash,
    "text_number": in_fields(_texts(*_TEXT_NUMBERS), ("amount", "processing_time_ms")),
    "wrong_type": in_fields(_WRONG, FIELDS),
    "timestamp": in_fields(_texts(*_TIMES) + _RAW_TIMES, ("timestamp",)),
    "address": in_fields((*_texts(*_ADDRESSES), b"5", b"[1]", b"{}"), ("ip_address",)),
    "vpa": in_fields(_texts(*_VPAS), ("upi_vpa",)),
    "injection": in_fields(_texts(*_INJECTIONS), _INJECTED),
    "own_field": as_members(_OWN_FIELDS),
    "envelope": _in_envelope,
    "many_keys": lambda turn, _dice: _many_keys(turn % 2 == 1),
    "long_text": _long_text,
    "missing_fields": _partial,
}
