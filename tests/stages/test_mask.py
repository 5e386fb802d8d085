"""The mask stage: by field and by scan, on every way through the plan, before whatever is behind."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.build import build
from enricher.config import load
from enricher.generator import generate
from enricher.model import ConfigError, DeadLetter, Document, Record
from enricher.pii import masker
from enricher.pii.kind import digits_of
from enricher.plan import Plan
from tests.pii.personal import anything
from tests.test_plan import NoBet

from .running import event_of, outcome_of, plan_of

PAYMENTS = Path(__file__).parents[2] / "pipelines" / "payments.yaml"
KEY = "a key of 16 or more"
EVERY = "scan: [vpa, card, aadhaar, pan, phone, email]"


def masked(stage: str, event: dict[str, Any], *others: str) -> dict[str, Any]:
    """Give what a mask makes of an event."""
    return event_of(plan_of(f"mask: {{{stage}}}", *others), event)


def test_a_field_is_hidden_whatever_stands_in_it() -> None:
    """Numbers, lists, objects and what is of no kind; null, empty and absent ones stay."""
    stage = "fields: {card: card, vpa: vpa, none: pan, gone: card, empty: email}"
    event = {
        "card": [4111111111111111, "4111 1111", {"a": 5555555555554444.0, "b": [True, None]}, 1.5],
        "vpa": {"x": "rakeshsh@okaxis"},
        "none": None,
        "empty": "",
        "other": "rakeshsh@okaxis",
    }
    assert masked(stage, event) == {
        "card": [
            "************1111",
            "**** ****",
            {"a": "************4444", "b": [True, None]},
            "*.*",
        ],
        "vpa": {"x": "ra****sh@okaxis"},
        "none": None,
        "empty": "",
        "other": "rakeshsh@okaxis",
    }


def test_a_path_leads_through_objects_and_lists() -> None:
    """Elasticsearch's fields do so, too; what is no object on the way is left alone."""
    stage = "fields: {cards.number: card, '[\"a.b\"]': phone, user.phone: phone}"
    event = {
        "cards": [{"number": "4111111111111111", "name": "a"}, [{"number": 4222222222222}], 5],
        "a.b": "9876543210",
        "user": "text",
    }
    assert masked(stage, event) == {
        "cards": [{"number": "************1111", "name": "a"}, [{"number": "*********2222"}], 5],
        "a.b": "******3210",
        "user": "text",
    }


def test_a_scan_within_fields_leaves_others_alone() -> None:
    stage = "scan: [card], within: [message, error.text]"
    number = "4111111111111111"
    event = {"message": f"a {number}", "error": {"text": [number], "code": number}, "x": number}
    hidden = "************1111"
    assert masked(stage, event) == {
        "message": f"a {hidden}",
        "error": {"text": [hidden], "code": number},
        "x": number,
    }


def test_bin_is_kept_on_demand_alone() -> None:
    stage = "fields: {a: card}, scan: [card]"
    event = {"a": "4111111111111111", "b": "4111 1111 1111 1111"}
    assert masked(stage, event) == {"a": "************1111", "b": "**** **** **** 1111"}
    stage += ", keep_bin: true"
    assert masked(stage, event) == {"a": "411111******1111", "b": "4111 11** **** 1111"}


def test_hashes_join() -> None:
    """By field and by scan, however it is written; of another key or kind they are others."""
    stage = f"mode: hash, key: {KEY}, fields: {{a: phone, k: vpa}}, scan: [phone, vpa]"
    done = masked(
        stage, {"a": "+919876543210", "b": "call 098765 43210.", "k": "a.b@ybl", "l": "A.B@YBL"}
    )
    assert done["b"] == f"call {done['a']}."
    assert done["k"] == done["l"]
    assert masked(stage, done) == done
    other = masked(stage.replace(KEY, KEY[::-1]), {"a": "+919876543210"})
    email = masked(f"mode: hash, key: {KEY}, fields: {{k: email}}", {"k": "a.b@ybl"})
    assert len({done["a"], done["k"], other["a"], email["k"].replace("email", "vpa")}) == 4
    assert done["a"].startswith("phone_")


def test_reasons_lose_what_they_quote() -> None:
    """Also the part of a value that was cut, in which nothing could be found any more."""
    card = "4111111111111111"
    plan = plan_of(
        "convert: {name: a, field: a}",
        "convert: {name: b, field: b}",
        "geoip: {name: c, field: c}",
        "mask: {fields: {b: card}}",
        "mask: {name: second, scan: [card, vpa]}",
    )
    event = {"a": "x" * 30 + f" {card}", "b": f"'{card[:15]}", "c": "rakeshsh@okaxis"}
    failures = event_of(plan, event)["failures"]
    assert failures == {
        "a": "a is no number: …",
        "b": "b is no number: …",
        "c": "ra****sh@okaxis is no IP address",
    }


@pytest.mark.parametrize("held", ["4111111111111111", ["4111111111111111"], {"x": {"y": 5}}, 5])
def test_an_event_may_bring_failures_of_any_type(held: object) -> None:
    """They are its own field then, and scanned as others are."""
    done = masked("fields: {a: vpa}, scan: [card]", {"failures": held})
    assert "4111111111111111" not in str(done)


def test_alerts_routes_and_ids_get_what_is_left() -> None:
    """They come behind every stage, so nothing of them shows what was hidden."""
    top = (
        "alerts: [{name: Paid, when: upi_vpa != null, summary: 'by {upi_vpa}, {message}'}]\n"
        "tests: []"
    )
    plan = plan_of("mask: {fields: {upi_vpa: vpa}, scan: [card]}", top=top)
    event = {"upi_vpa": "rakeshsh@okaxis", "message": "4111-1111-1111-1111"}
    outcome = outcome_of(plan, event)
    assert isinstance(outcome, Document)
    assert [one.summary for one in outcome.alerts] == ["by ra****sh@okaxis, ****-****-****-1111"]
    assert b"rakesh" not in outcome.body


def test_a_stage_that_breaks_lets_nothing_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that could not be masked is a dead letter, never a document."""

    def fail(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(masker, "fold", fail)
    outcome = outcome_of(plan_of("mask: {fields: {a: vpa}}"), {"a": "rakeshsh@okaxis"})
    assert isinstance(outcome, DeadLetter)
    assert (outcome.stage, outcome.error) == ("mask", "RuntimeError")


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("{}", "give fields or scan"),
        ("{fields: {a: vpa}, within: [b]}", "within says where to scan"),
        ("{fields: {a: vpa}, mode: hash}", "mode: hash needs a key"),
        (f"{{fields: {{a: vpa}}, key: {KEY}}}", "mode: hash needs a key"),
        ("{fields: {a: vpa}, mode: hash, key: short-secret}", "has 12 characters; 16"),
        ("{fields: {a: vap}}", "'vpa', 'card'"),
        ("{scan: [everything]}", "'vpa', 'card'"),
        ("{fields: {a: vpa}, on_error: tag}", "dead_letter"),
    ],
)
def test_mistakes_are_told_and_no_key_is_shown(stage: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")) as caught:
        plan_of(f"mask: {stage}")
    assert "short-secret" not in str(caught.value)


def test_the_key_is_in_no_repr(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "name: p\nstages:\n  - json: {}\n  - mask: {scan: [card], mode: hash, key: '${K}'}\n"
        "routes: [{elasticsearch: {index: l}}]\n"
    )
    config = load(file, {"K": KEY})
    assert KEY not in f"{config!r} {build(config)!r} {config.stages[1]}"
    load(file, {}, allow_missing_env=True)


def payments_with(tmp_path: Path, stage: str) -> Plan:
    """Build the payments pipeline with one more stage at its end."""
    text = PAYMENTS.read_text().replace("\nroutes:\n", f"\n  - {stage}\n\nroutes:\n", 1)
    file = tmp_path / "payments.yaml"
    file.write_text(text.replace("templates: ../templates", ""))
    return build(load(file, {}))


def documents(plan: Plan, records: list[Record], way: str = "fast") -> list[dict[str, Any]]:
    """Give what a plan makes of records, by one of its ways."""
    work = plan.process_timed(records, {}) if way == "singly" else plan.process(records)
    done = [orjson.loads(one.body) for one in asyncio.run(work) if isinstance(one, Document)]
    assert len(done) == len(records)
    return [{key: one[key] for key in one if key != "processed_at"} for one in done]


STAGES = [
    "mask: {fields: {upi_vpa: vpa}}",
    "mask: {scan: [vpa, card]}",
    f"mask: {{fields: {{upi_vpa: vpa}}, {EVERY}, within: [message, error, user_data]}}",
]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("way", ["fast", "plain", "singly"])
def test_payments_change_in_their_addresses_alone(tmp_path: Path, stage: str, way: str) -> None:
    """Realistic events before and after; the bank of an address was found before it was masked."""
    records = [
        Record(one.value, f"id-{n}", one.timestamp, "t/0", n)
        for n, one in enumerate(generate(600, seed=5))
    ]
    plan = payments_with(tmp_path, stage)
    plan.bet = NoBet() if way == "plain" else plan.bet
    before = documents(build(load(PAYMENTS, {})), records)
    after = documents(plan, records, way)
    seen = 0
    for old, new in zip(before, after, strict=True):
        address = old.pop("upi_vpa", None)
        hidden = new.pop("upi_vpa", None)
        assert new == old
        if address:
            seen += 1
            name, _, bank = address.rpartition("@")
            assert hidden.endswith(f"@{bank}")
            assert len(hidden) == len(address)
            assert name not in hidden
        else:
            assert hidden == address
    assert seen > 50


EVENTS = [orjson.loads(one.value) for one in generate(200)]


@settings(max_examples=150, deadline=None)
@given(anything, st.integers(0, 10**9))
def test_nothing_of_it_is_left_anywhere(personal: tuple[str, str], seed: int) -> None:
    """A value in any field of a realistic event is in no part of the document or its alerts."""
    name, value = personal
    one = random.Random(seed)
    event = dict(one.choice(EVENTS))
    text = one.choice(["{}", "paid by {}, thanks", "a\n{}\n", '{{"inner": "{}"}}']).format(value)
    place = one.choice(["message", "user_agent", "new", "error", "list"])
    nested = {"error": {"message": text, "more": [text]}, "list": [[text], {"a": text}]}
    event[place] = nested.get(place, text)
    outcome = outcome_of(PLAN, event)
    assert isinstance(outcome, Document)
    shown = outcome.body.decode() + "".join(alert.summary for alert in outcome.alerts)
    assert value not in shown
    if name in ("card", "aadhaar", "phone"):
        assert digits_of(value) not in shown
    assert outcome.alerts[0].summary.strip()


PLAN = plan_of(
    f"mask: {{{EVERY}}}",
    top="alerts: [{name: All, when: true or x, summary: '{message} {user_agent} {new} {error} {list}'}]",
)
