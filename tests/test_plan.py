"""The fused plan does what its stages do, one after the other, and never fails as a whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher import loop as loop_module
from enricher import plan as plan_module
from enricher.build import build
from enricher.config import load
from enricher.fuse import Fuser
from enricher.generator import generate, hostile, users
from enricher.lookups import FileLookups
from enricher.model import DeadLetter, Document, Dropped, Outcome, Record
from enricher.plan import Bet, Plan, fuse

PAYMENTS = Path(__file__).parent.parent / "pipelines" / "payments.yaml"
USERS = dict(users())
EVERY_STAGE = """
name: every-stage
allow_python: true
stages:
  - json: {envelope: message}
  - timestamp: {field: timestamp, target: time.local, timezone: Europe/Berlin}
  - drop: {when: 'level == "DEBUG" and not keep'}
  - rename: {fields: {user_id: user.id, a: b.c}}
  - extract: {field: upi_vpa, pattern: '(?P<who>[^@]*)@(?P<bank>.+)', on_error: dead_letter}
  - convert: {field: amount, target: money.rupees, type: integer}
  - convert: {name: text, field: processing_time_ms, type: text}
  - convert: {name: truth, field: keep, type: boolean, on_error: dead_letter}
  - bucket:
      field: money.rupees
      ranges: [{below: 10, set: {money.size: s, small: true}}, {below: 1000, set: {money.size: m}}]
  - time_of_day: {field: time.local, parts: [{hours: 22-5, set: {night: true}}]}
  - calendar: {field: time.local, periods: [{from: 12-25, to: 01-05, set: {season.name: x}}]}
  - geoip: {field: ip_address, country: geo.country, location: geo.location, state: state}
  - normalize: {field: state, lower: true, trim: true, replace: {" ": _}}
  - translate:
      {field: level, target: severity, table: {"5": five, "true": yes, ERROR: 3}, default: 9}
  - score:
      target: risk.score
      reasons: risk.why
      cap: 5
      rules:
        - {when: amount > 100, add: 2, reason: "amount {amount}"}
        - {when: 'matches(service, "^pay")', add: 2.5, reason: pays}
        - {when: length(user_id) > 3 or night, add: 1, reason: "{user.id} at {time.local:%H}"}
      levels: [{at_least: 4, set: {risk.level: high}}, {at_least: 2, set: {risk.level: medium}}]
  - lookup: {key: "user:{user.id}", target: user.data, when: user.id != null}
  - set:
      fields: {first: 1, who: "{user.id}", copy: "{amount}", text: "{level}-{b}", last: {x: []}}
  - remove: {fields: [hostname, error.stack_trace]}
  - set: {when: service == "payment-service", fields: {service: other, level: INFO}}
  - rename: {when: service == "other", fields: {level: service, service: level}}
  - remove: {when: service == "INFO" or level == "ERROR", fields: [amount, service]}
  - python: {function: "own_function_x:change"}
  - set: {when: service == null and amount == null, fields: {gone: true}}
  - translate: {when: level == "python", field: level, target: level, table: {python: ERROR}}
routes:
  - when: risk.level == "high"
    elasticsearch: {index: "risky-{time.local:%Y.%m.%d}", id: "{request_id}-{level}"}
  - when: level in ["INFO", "ERROR"]
    elasticsearch: {index: "some-{level}", allowed: {level: [info]}}
  - elasticsearch: {index: rest}
alerts:
  - name: high
    when: risk.score >= 3
    summary: "{user.id} {risk.why}"
    fingerprint: "{request_id}/{time.local:%H}"
    alertmanager: {labels: {level: "{level}", size: "{money.size}", severity: high}}
outputs:
  - name: risky
    when: risk.level != null
    kafka:
      topic: risky
      key: "{user.id}"
      body: {kind: RISK, risk: {score: "{risk.score}", why: "{risk.why}"}, of: ["{user.id}", 1]}
  - {name: all, kafka: {topic: all}}
  - {name: kept, when: night, redis: {key: "night:{user.id}-{amount}", expire_s: 60}}
"""


class Calling(Fuser):
    """Writes nothing out: every function is called."""

    def statements(self, function: Callable[..., Any], arguments: Sequence[str]) -> str:
        return f"{self.bind(function, 'call')}({', '.join(arguments)})"

    def expression(self, function: Callable[..., Any], arguments: Sequence[str]) -> str:
        return f"{self.bind(function, 'call')}({', '.join(arguments)})"


class NoBet(Bet):
    """Never takes the fast way."""

    def fast(self, *_: object) -> None:
        return None


class Ways:
    """One pipeline, run in three ways."""

    def __init__(self, file: Path) -> None:
        self.fused = build(load(file, {}), FileLookups(USERS))
        self.calling = build(load(file, {}), FileLookups(USERS))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop_module, "Fuser", Calling)
            self.calling.fused = tuple(fuse(self.calling.steps, self.calling.ending))
            self.calling.bet = NoBet()

    def outcomes(self, records: list[Record]) -> list[list[object]]:
        async def run() -> list[list[Outcome]]:
            costs: dict[str, int] = {}
            done = [
                await self.fused.process(records),
                await self.calling.process(records),
                await self.fused.process_timed(records, costs),
            ]
            assert all(cost >= 0 for cost in costs.values())
            return done

        return [[readable(one) for one in way] for way in asyncio.run(run())]

    def check(self, records: list[Record]) -> None:
        fused, calling, singly = self.outcomes(records)
        assert len(fused) == len(records)
        for number in range(len(records)):
            assert fused[number] == calling[number]
            assert fused[number] == singly[number]


def readable(outcome: Outcome) -> object:
    """Make outcomes of two runs comparable: all but the time of processing, keys in any order."""
    if isinstance(outcome, Document):
        pairs = json.loads(outcome.body, object_pairs_hook=list)
        assert len({key for key, _ in pairs}) == len(pairs), "a key stands twice"
        body = orjson.loads(outcome.body)
        body.pop("processed_at", None)
        outputs = tuple(
            output._replace(
                body=orjson.dumps(orjson.loads(output.body), option=orjson.OPT_SORT_KEYS)
            )
            for output in outcome.outputs
        )
        sorted_body = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        return outcome._replace(body=sorted_body, outputs=outputs)
    assert isinstance(outcome, DeadLetter | Dropped)
    return outcome


OWN_FUNCTION = """
def change(event):
    if len(event) % 3 == 0:
        event["level"] = "python"
        event.pop("service", None)
    if len(event) % 7 == 0:
        raise LookupError("seven")
"""


@pytest.fixture(scope="module", params=["payments", "every stage", "every stage but python"])
def ways(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ways:
    """Take the shipped pipeline, and one that shows the stages at each other's fields.

    A python stage may write anything, so that without it more is worked out ahead.
    """
    if request.param == "payments":
        return Ways(PAYMENTS)
    file = tmp_path_factory.mktemp("every") / "every.yaml"
    (file.parent / "own_function_x.py").write_text(OWN_FUNCTION)
    lines = EVERY_STAGE.splitlines()
    without = request.param == "every stage but python"
    file.write_text("\n".join(line for line in lines if not (without and "- python:" in line)))
    return Ways(file)


def record(value: bytes, number: int = 0, timestamp: int | None = 1_761_040_929_118) -> Record:
    return Record(value, f"id-{number}", timestamp, "t/0", number)


def test_the_loops_are_written_out() -> None:
    """The plan is fused: of payments' stages none but the look-up is called."""
    plan = build(load(PAYMENTS, {}))
    source = loop_module.source_of([s for s in plan.steps if not s.is_batch], plan.ending, Fuser())
    assert "call_" not in source


def test_generated_events(ways: Ways) -> None:
    """Three ways, one result, over realistic events."""
    ways.check([record(e.value, n, e.timestamp) for n, e in enumerate(generate(1500, seed=3))])


def test_hostile_events(ways: Ways) -> None:
    """Three ways, one result, over hostile events."""
    events = (e for e in hostile(1200, seed=3) if len(e.value) < 100_000)
    ways.check([record(e.value, n, e.timestamp) for n, e in enumerate(events)])


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(["12.5", "abc", "", "UPI", "8.8.8.8", "10.0.0.1", "a@okaxis", "DEBUG"]),
    st.sampled_from(["2025-12-31T23:59:59Z", "2025-10-20T00:00:00", "never", "{a}", "{}"]),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.sampled_from(["a", "id", "c", "type"]), st.integers(0, 3), max_size=2),
)
DOMAIN: dict[str, st.SearchStrategy[Any]] = {
    "service": st.sampled_from(["payment-service", "fraud-detection", "order-service"]),
    "level": st.sampled_from(["BUSINESS", "ERROR", "INFO", "CRITICAL", "DEBUG"]),
    "event_type": st.sampled_from(["PAYMENT_SUCCESS", "ORDER"]),
    "amount": st.sampled_from([99.99, 100, 10000, 49999.99, 50000, "10000", True, "x", None]),
    "timestamp": st.datetimes().map(lambda time: time.isoformat() + "Z"),
    "user_id": st.sampled_from(["user-00001", "user-00013", "", "nobody"]),
    "user_tier": st.sampled_from(["new", "gold"]),
    "payment_method": st.just("UPI"),
    "upi_vpa": st.sampled_from(["a@oksbi", "A@YBL", "a@1", "a", "a@b@upi"]),
    "ip_address": st.sampled_from(["8.8.8.8", "59.182.0.1", "10.0.0.1", "", "1.2.3"]),
    "message": st.sampled_from(['{"level": "ERROR"}', "text", '{"tags": [1]}']),
}
NAMES = [
    *("tags", "failures", "geoip", "geo_state", "geo_country", "user_data", "@timestamp", "a", "b"),
    *("fraud_risk_score", "requires_manual_review", "request_id", "user", "time", "money", "risk"),
    *("upi_bank", "amount_category", "business_region", "keep", "error", "state", "last", "geo"),
]
events = st.fixed_dictionaries(
    {},
    optional={name: st.one_of(strategy, values) for name, strategy in DOMAIN.items()}
    | {name: values for name in NAMES},
)
timestamps = st.one_of(st.none(), st.integers(1_500_000_000_000, 1_800_000_000_000), st.integers())


@settings(max_examples=60, deadline=None)
@given(batch=st.lists(st.tuples(events, timestamps), min_size=1, max_size=8))
def test_random_events(ways: Ways, batch: list[tuple[dict[str, Any], int | None]]) -> None:
    """Three ways, one result, whatever the fields hold and whenever the record was written."""
    ways.check([record(orjson.dumps(e), n, time) for n, (e, time) in enumerate(batch)])


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.binary(max_size=60), min_size=1, max_size=20))
def test_random_bytes(ways: Ways, values: list[bytes]) -> None:
    """Bytes of any kind have one outcome each, and the same in a batch as alone."""
    records = [record(value, number) for number, value in enumerate(values)]
    together = ways.outcomes(records)[0]
    alone = [ways.outcomes([one])[0][0] for one in records]
    assert together == alone


def plan_of(folder: Path, stages: str, rest: str = "") -> Plan:
    file = folder / "p.yaml"
    routes = "routes: [{elasticsearch: {index: logs}}]"
    file.write_text(f"name: p\nstages:\n  - json: {{}}\n{stages}\n{rest or routes}\n")
    return build(load(file, {}))


def one(plan: Plan, event: dict[str, Any]) -> Outcome:
    return asyncio.run(plan.process([record(orjson.dumps(event))]))[0]


def test_failing_stage_is_tagged_or_dead_lettered(tmp_path: Path) -> None:
    """A stage that fails tags the event, or with on_error ends it, under its own name."""
    plan = plan_of(tmp_path, "  - convert: {name: n, field: a}")
    done = one(plan, {"a": "x", "tags": "mine"})
    assert isinstance(done, Document)
    body = orjson.loads(done.body)
    assert body == {
        "a": "x",
        "tags": ["mine", "_n_failure"],
        "failures": {"n": "a is no number: 'x'"},
    }
    plan = plan_of(tmp_path, "  - convert: {field: a, on_error: dead_letter}")
    letter = one(plan, {"a": "x"})
    assert letter == DeadLetter(letter.record, "convert", "Failure", "a is no number: 'x'")


def test_a_function_of_your_own_that_leaves_no_json(tmp_path: Path) -> None:
    """It fails there, so that no later stage meets what no record can bring."""
    (tmp_path / "own_text_x.py").write_text("def f(event):\n    event['a'] = '\\ud800'\n")
    file = tmp_path / "p.yaml"
    file.write_text(
        "{name: p, allow_python: true, stages: [json: {}, python: {function: 'own_text_x:f'}, "
        "lookup: {key: 'u:{a}', target: b, when: 'matches(a, \"x\")'}], "
        "routes: [elasticsearch: {index: x}]}"
    )
    done = one(build(load(file, {})), {"a": "y"})
    assert isinstance(done, Document)
    body = orjson.loads(done.body)
    assert (body["a"], body["tags"]) == ("y", ["_python_failure"])


def test_a_text_of_the_environment_that_is_none(tmp_path: Path) -> None:
    """A byte that is no UTF-8 in a variable: the event's trouble, in a condition and in a key."""
    file = tmp_path / "p.yaml"
    when = "when: 'matches(a, \"x\")'"
    for key, rest in (("u", f", {when}"), ("${A}{x}", "")):
        lookup = f"lookup: {{key: '{key}', target: b{rest}}}"
        file.write_text(
            f"{{name: p, stages: [json: {{}}, set: {{fields: {{a: '${{A}}'}}, when: x == 1}}, "
            f"{lookup}], routes: [elasticsearch: {{index: x}}]}}"
        )
        done = one(build(load(file, {"A": "\udcff"})), {"x": 1})
        assert isinstance(done, DeadLetter)
        assert (done.stage, done.error) == ("plan", "UnicodeEncodeError" if rest else "TypeError")


def test_dropped_event_meets_no_later_stage(tmp_path: Path) -> None:
    """A dropped record is counted under the stage's name and goes no further."""
    plan = plan_of(tmp_path, "  - drop: {name: noise, when: a == 1}\n  - convert: {field: b}")
    assert one(plan, {"a": 1, "b": "x"}) == Dropped(record(b'{"a":1,"b":"x"}'), "noise")
    assert isinstance(one(plan, {"a": 2}), Document)


def test_one_bad_event_concerns_itself_alone(tmp_path: Path) -> None:
    """Neighbours of an event that fails are as they are without it."""
    plan = plan_of(tmp_path, "  - convert: {field: a, on_error: dead_letter}")
    records = [record(b'{"a":1}', 0), record(b'{"a":"x"}', 1), record(b"{", 2), record(b"{}", 3)]
    kinds = [type(done) for done in asyncio.run(plan.process(records))]
    assert kinds == [Document, DeadLetter, DeadLetter, Document]


def test_index_name_from_a_value_that_is_not_allowed_takes_the_next_route(tmp_path: Path) -> None:
    """A route whose index name has no allowed value passes the event on, tagged."""
    routes = """
routes:
  - when: a == 1
    elasticsearch: {index: "x-{b}", allowed: {b: [c]}}
  - elasticsearch: {index: rest}
"""
    plan = plan_of(tmp_path, "", routes)
    done = one(plan, {"a": 1, "b": "C"})
    assert isinstance(done, Document)
    assert done.index == "rest"
    assert orjson.loads(done.body)["tags"] == ["_index_failure"]
    done = one(plan, {"a": 1, "b": "c"})
    assert isinstance(done, Document)
    assert done.index == "x-c"


def test_empty_batch(ways: Ways) -> None:
    """Nothing comes of nothing."""
    assert ways.outcomes([]) == [[], [], []]


def test_stages_write_what_they_say(ways: Ways) -> None:
    """Nothing but the fields of `writes()`, and the notes of a failure: the plan builds on it."""
    records = [record(e.value, n, e.timestamp) for n, e in enumerate(generate(300, seed=4))]
    records += [record(e.value, n) for n, e in enumerate(hostile(300)) if len(e.value) < 10_000]
    plan = ways.fused
    events, outcomes = plan.start(records)
    for step in plan.steps:
        before = [None if event is None else dict(event) for event in events]
        if step.is_batch:
            asyncio.run(plan_module.run_batch(step, records, events, outcomes))
        else:
            loop_module.generate([step], None)(records, events, outcomes)
        allowed = {*(step.writes or ()), *loop_module.NOTES}
        for old, new in zip(before, events, strict=True):
            if step.writes is not None and old is not None and new is not None:
                changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
                assert changed <= allowed, (step.name, changed - allowed)
