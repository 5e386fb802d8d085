"""An event that was decoded to put history in order is the one that the plan would have decoded."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from enricher.backtest import order
from enricher.backtest.decoded import Decoded
from enricher.model import Record
from enricher.stages.base import Context
from enricher.stages.json import Json, JsonDecoder

from .histories import RULES, backtest, payment


def decoders() -> tuple[JsonDecoder, Decoded]:
    decoder = Json().compile(Context())
    return decoder, Decoded(decoder)


def records_of(*values: bytes) -> list[Record]:
    return [Record(value, f"r{n}", None, "f", n) for n, value in enumerate(values)]


def test_events_are_given_once() -> None:
    """The plan writes to them: whoever asks again gets new ones."""
    decoder, decoded = decoders()
    records = records_of(b'{"a":1}', b"no JSON", b'{"b":{"c":2}}')
    events = decoder.quickly(records)
    decoded.tell(records, events)
    assert decoded.quickly([*records[:2]]) is not events
    first = decoded.quickly([*records])
    assert first[0] is events[0]
    event: Any = first[0]
    event["a"] = 5
    assert decoded.quickly([*records])[0] == {"a": 1}


def test_every_check_is_made_of_what_was_told() -> None:
    """A name that cannot be indexed is found by the check that decoding quickly leaves out."""
    decoder, decoded = decoders()
    records = records_of(b'{"a":1}', b'{".a":1}', b"{")
    decoded.tell(records, decoder.quickly(records))
    assert list(map(repr, decoded([*records]))) == list(map(repr, decoder(records)))


def test_where_one_is_missing_all_are_decoded() -> None:
    decoder, decoded = decoders()
    records = records_of(b'{"a":1}', b'{"b":1}')
    events = decoder.quickly(records)
    decoded.tell(records, [events[0], None])
    assert decoded.quickly([*records]) == events
    assert decoded.quickly([*records])[0] is not events[0]


@pytest.mark.parametrize("against", [None, RULES.replace("add: 10", "add: 11")])
def test_a_crowd_is_decoded_twice_and_says_the_same(
    monkeypatch: pytest.MonkeyPatch, against: str | None
) -> None:
    """More bytes wait than may wait decoded; the other pipeline decodes for itself either way."""
    events: list[object] = [
        payment(n, amount=n % 300, country="Nepal" if n % 7 else "India") for n in range(900)
    ]
    events[5:5] = [b"no JSON", orjson.dumps({"": 1})]

    def figures() -> list[object]:
        """Give all that is said but the files' names, which are in the ids, too."""
        result, changed, scored = backtest(events, against=against, frauds=["p7"])
        whole = [result.events, result.documents, result.dead_letters, result.alerts, result.scores]
        each = [[one.label, one.scores, one.differences] for one in changed]
        return [*whole, each, [one["scores"] for one in scored]]

    roomy = figures()
    monkeypatch.setattr(order, "MOST_DECODED", -1)
    assert figures() == roomy
    assert roomy[1]
