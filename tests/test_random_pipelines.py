"""Whatever a pipeline is made of, and whatever it is given: all ways to the same outcomes."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from enricher import loop as loop_module
from enricher.build import build
from enricher.config import load
from enricher.lookups.store import Answer
from enricher.model import ConfigError, Record
from enricher.plan import Bet, Plan, fuse
from tests.test_plan import Calling, NoBet, readable

TOP = ["a", "b", "c", "d", "@timestamp", "tags", "failures", "event", "class", "µ", '["b.c"]']
TOP += ['["it\'s"]', '["x y"]']
PATHS = [*TOP * 3, "a.b", "a.c", "b.a.c", "failures.x", "tags.y"]
TEXTS = ["", "x", "1", "12.5", "true", "a@okaxis", "8.8.8.8", "10.0.0.1", "DEBUG", '{"a": "x"}']
TIMES = ["2025-12-31T23:59:59Z", "2025-10-20T00:00:00", "2025-10-20T06:15Z", "1900-01-01T00:00:00Z"]
PERSONAL = ["rakeshsh@okaxis", "4111 1111 1111 1111", "x 234567890124 +91 98765 43210", "a@b.co"]
SCALARS = [None, True, False, 0, 1, 7, -2.5, 2**63, 378282246310005, *TEXTS, *TIMES, *PERSONAL]
STORED = [b'{"n": "5"}', b'{"n": null, "a": 1}', b"[]", b"no", b'{"n": "x"}', b"{}", None]
MOMENT = 1_761_040_929_118


class Store:
    """Knows some keys."""

    lasting = True

    async def get_many(
        self, keys: Sequence[str], hash_fields: Sequence[str] | None = None
    ) -> list[Answer]:
        return [STORED[sum(key.encode()) % len(STORED)] for key in keys]

    async def close(self) -> None:
        """Nothing is open."""


class Maker:
    """Makes pipelines and events up, of few names so that they meet."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - repeatable
        one = self.random
        self.fields = one.choice([TOP[:4], TOP, PATHS])
        self.constants = [c for c in SCALARS if c is not None or one.random() < 0.1]

    def field(self) -> str:
        return self.random.choice(self.fields)

    def value(self) -> Any:
        one = self.random
        if one.random() < 0.8:
            return one.choice(SCALARS)
        keys = ["a", "b", "c", "x.y"] if one.random() < 0.9 else ["a", "", "b."]
        inner = {one.choice(keys): one.choice(SCALARS) for _ in range(2)}
        return one.choice([inner, [], {}, [1, "x"], {"a": inner}, [inner]])

    def constant(self) -> Any:
        one = self.random
        rare = [{"z": 1}, ["x"], {}, 2**70, {"z": None}]
        return one.choice(rare) if one.random() < 0.1 else one.choice(self.constants)

    def template(self, builtins: bool = True) -> str:
        one = self.random
        parts = [f"{{{self.field()}}}", "x", "{$pipeline}" if builtins else "y", "-"]
        return "".join(one.sample(parts, one.randint(1, 3)))

    def reason(self) -> str:
        text = self.template()
        return text.replace("}", ":.1f}", 1) if self.random.random() < 0.3 else text

    def arithmetic(self, depth: int = 2) -> str:
        """Write arithmetic; most fields are no number, so most of it comes to nothing."""
        one = self.random
        if not depth or one.random() < 0.3:
            field = self.field().replace("event.", "").replace("class", "klass")
            return one.choice([field, "1", "2.5", "9223372036854775807", "0"])
        left, right = self.arithmetic(depth - 1), self.arithmetic(depth - 1)
        forms = ["{} + {}", "{} - {}", "{} * {}", "{} / {}", "min({}, {})", "max({}, {}, 3)"]
        forms += ["int({})", "round({}, 1)", "abs(-{})"]
        return f"({one.choice(forms).format(left, right)})"

    def when(self, depth: int = 2) -> str:
        one = self.random
        field = self.field().replace("event.", "").replace("class", "klass")
        if depth and one.random() < 0.3:
            joined = f" {one.choice(['and', 'or'])} "
            return f"({joined.join(self.when(depth - 1) for _ in range(2))})"
        tests = [
            f"{field} == null",
            f"{field} != null",
            f'{field} == "x"',
            f"{field} > 1",
            f"{field} < {self.random.choice(['a', 'b', '5'])}",
            f'"x" in {field}',
            f'{field} in ["x", 1, null]',
            f'matches({field}, "^[a-z1]")',
            f"length({field}) > 1",
            f"not {field}",
            f"{field} + 1 > b",
            f"{field} > {self.arithmetic()}",
        ]
        return one.choice(tests)

    def sets(self) -> dict[str, Any]:
        return {self.field(): self.constant() for _ in range(self.random.randint(0, 3))}

    def stage(self) -> dict[str, Any]:
        one = self.random
        kind = one.choice([name for name in dir(self) if name.startswith("stage_")])
        stage = getattr(self, kind)()
        if one.random() < 0.4:
            stage["when"] = self.when()
        if one.random() < 0.2:
            stage["on_error"] = "dead_letter"
        if one.random() < 0.2:
            stage["name"] = one.choice(["a", "b", "x-1"])
        return {kind.removeprefix("stage_"): stage}

    def stage_timestamp(self) -> dict[str, Any]:
        zone = self.random.choice(["UTC", "Asia/Kolkata", "Africa/Monrovia"])
        return {"field": self.field(), "target": self.field(), "timezone": zone}

    def stage_geoip(self) -> dict[str, Any]:
        names = ["continent_code", "country", "country_code", "state", "city", "location"]
        wanted = self.random.sample(names, self.random.randint(0, 3))
        return {"field": self.field(), **{name: self.field() for name in wanted}}

    def stage_translate(self) -> dict[str, Any]:
        table = {self.random.choice(TEXTS): self.constant() for _ in range(3)}
        stage = {"field": self.field(), "target": self.field(), "table": table}
        return stage | ({"default": self.constant()} if self.random.random() < 0.5 else {})

    def stage_extract(self) -> dict[str, Any]:
        patterns = ["(?P<a>[^@]*)@(?P<b>.+)", "^(?P<c>.)(?P<d>.)?", "(?P<event>x)|(?P<a>1)"]
        return {"field": self.field(), "pattern": self.random.choice(patterns)}

    def stage_bucket(self) -> dict[str, Any]:
        ranges = [{"below": 1, "set": self.sets()}, {"below": 10, "set": self.sets()}]
        rest = [{"set": self.sets()}] if self.random.random() < 0.5 else []
        return {"field": self.field(), "ranges": ranges + rest}

    def stage_time_of_day(self) -> dict[str, Any]:
        parts = [{"hours": "22-5", "set": self.sets()}, {"hours": "6-12", "set": self.sets()}]
        return {"field": self.field(), "parts": parts}

    def stage_calendar(self) -> dict[str, Any]:
        periods = [{"from": "12-25", "to": "01-05", "set": self.sets()}]
        return {"field": self.field(), "periods": periods, "otherwise": self.sets()}

    def stage_score(self) -> dict[str, Any]:
        one = self.random
        points = [1, 2.5, self.arithmetic(), self.arithmetic()]
        rules: list[dict[str, Any]] = [
            {"when": self.when(), "add": one.choice(points), "reason": self.reason()}
            for _ in range(2)
        ]
        rules[0] |= {"at_most": one.choice([1, 3.5])} if one.random() < 0.3 else {}
        bound = one.choice([{"at_least": 2}, {"above": 2}])
        levels = [bound | {"set": self.sets()}, {"set": self.sets()}]
        stage: dict[str, Any] = {"target": self.field(), "rules": rules}
        stage |= {"levels": levels[: self.random.randint(0, 2)]}
        return stage | ({"reasons": self.field()} if self.random.random() < 0.5 else {})

    def stage_lookup(self) -> dict[str, Any]:
        numbers = {self.field(): "n" for _ in range(self.random.randint(0, 2))}
        return {"key": f"k:{self.template()}", "target": self.field(), "numbers": numbers}

    def stage_set(self) -> dict[str, Any]:
        fields = {
            self.field(): self.constant() if self.random.random() < 0.5 else self.template()
            for _ in range(self.random.randint(1, 4))
        }
        return {"fields": fields}

    def stage_rename(self) -> dict[str, Any]:
        return {"fields": {self.field(): self.field() for _ in range(self.random.randint(1, 2))}}

    def stage_remove(self) -> dict[str, Any]:
        return {"fields": [self.field() for _ in range(self.random.randint(1, 2))]}

    def stage_convert(self) -> dict[str, Any]:
        kind = self.random.choice(["number", "integer", "boolean", "text"])
        stage = {"field": self.field(), "type": kind}
        return stage | ({"target": self.field()} if self.random.random() < 0.5 else {})

    def stage_normalize(self) -> dict[str, Any]:
        return {
            "field": self.field(),
            "trim": True,
            "lower": True,
            "table": {"x": "y", "debug": "x"},
        }

    def stage_mask(self) -> dict[str, Any]:
        one = self.random
        kinds = ["vpa", "card", "aadhaar", "pan", "phone", "email"]
        by_field = {self.field(): one.choice(kinds) for _ in range(one.randint(0, 2))}
        scan = one.sample(kinds, one.randint(0 if by_field else 1, 3))
        stage: dict[str, Any] = {"fields": by_field, "scan": scan}
        if scan and one.random() < 0.6:
            stage["within"] = [self.field() for _ in range(one.randint(1, 2))]
        if one.random() < 0.3:
            stage |= {"mode": "hash", "key": "sixteen characters"}
        return stage

    def stage_drop(self) -> dict[str, Any]:
        return {"when": self.when(0) + " and " + self.when(0)}

    def pipeline(self) -> dict[str, Any]:
        one = self.random
        decoder = {"envelope": "a"} if one.random() < 0.2 else {}
        field = self.field()
        indices: list[dict[str, Any]] = [
            {"index": "plain", "id": self.template(builtins=False)},
            {"index": f"x-{{{field}}}", "allowed": {field: ["x", "1", "y"]}},
            {"index": f"t-{{{field}:%Y.%m.%d}}"},
        ]
        routes = [{"when": self.when(), "elasticsearch": one.choice(indices)} for _ in range(2)]
        alerts = [
            {"name": f"n{n}", "when": self.when(), "summary": self.template()} for n in (1, 2)
        ]
        return {
            "name": "p",
            "stages": [{"json": decoder}, *(self.stage() for _ in range(one.randint(1, 5)))],
            "routes": [*routes, {"elasticsearch": {"index": "rest"}}],
            "alerts": alerts[: one.randint(0, 2)],
            "outputs": [self.output(n) for n in range(one.choice([0, 0, 1, 3]))],
        }

    def output(self, number: int) -> dict[str, Any]:
        one = self.random
        body = {f"k{n}": self.part() for n in range(one.randint(0, 3))}
        target: dict[str, Any] = {"body": body} if one.random() < 0.7 else {}
        when = {"when": self.when()} if one.random() < 0.7 else {}
        key = self.template(builtins=False)
        if one.random() < 0.3:
            target |= {"key": f"k:{key}", "expire_s": 60}
            return {"name": f"o{number}", **when, "redis": target}
        target |= {"topic": "t"} | ({"key": key} if one.random() < 0.7 else {})
        return {"name": f"o{number}", **when, "kafka": target}

    def part(self, depth: int = 2) -> Any:
        one = self.random
        if depth and one.random() < 0.3:
            parts = [self.part(depth - 1) for _ in range(2)]
            return parts if one.random() < 0.5 else dict(zip("ab", parts, strict=True))
        constants = [None, True, 1, -2.5, "", "x", "{{x}}"]
        return one.choice([f"{{{self.field()}}}", self.template(), one.choice(constants)])

    def event(self, names: list[str]) -> bytes:
        one = self.random
        if one.random() < 0.04:
            return one.choice([b"{}", b"[]", b"{", b'{"a":1,"a":2}', b'{"a.":1,"x":2}', b'{"":{}}'])
        return orjson.dumps({one.choice(names): self.value() for _ in range(one.randint(1, 4))})

    def records(self) -> list[Record]:
        one = self.random
        plain = ["a", "b", "c", "d", "e", "f", "@timestamp", "event", "class", "µ", "b.c", "x y"]
        odd = [*plain, "tags", "failures", "it's"]
        names = one.choice([plain[4:6], one.sample(plain, 4), odd])
        stamps = [MOMENT, MOMENT, None, -(10**13), 10**18]
        return [
            Record(self.event(names), f"id-{n}", one.choice(stamps), "t/0", n) for n in range(12)
        ]


def check(seed: int, folder: Path) -> bool:
    """Hold all ways together; False where the pipeline is refused."""
    maker = Maker(seed)
    file = folder / "p.yaml"
    file.write_text(json.dumps(maker.pipeline(), ensure_ascii=False), encoding="utf-8")
    try:
        config = load(file, {})
        fast, plain, calling = (build(config, Store()) for _ in range(3))
    except ConfigError:
        return False
    plain.bet = calling.bet = NoBet()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop_module, "Fuser", Calling)
        calling.fused = tuple(fuse(calling.steps, calling.ending))
    for records in ([], maker.records(), maker.records()) if seed % 4 else (maker.records(),):
        asyncio.run(compare(fast, plain, calling, records))
        if seed % 3 == 0:
            fast.bet = Bet(_present=set(fast.bet._present))
    return True


async def compare(fast: Plan, plain: Plan, calling: Plan, records: list[Record]) -> None:
    """Compare the outcomes of each record."""
    expected = [readable(done) for done in await calling.process(records)]
    for done in (
        await fast.process(records),
        await plain.process(records),
        await fast.process_timed(records, {}),
    ):
        assert [readable(one) for one in done] == expected


def test_random_pipelines(tmp_path: Path) -> None:
    """Fast, plain, called and stage by stage; most pipelines are accepted."""
    accepted = sum(check(seed, tmp_path) for seed in range(80))
    assert accepted > 60
