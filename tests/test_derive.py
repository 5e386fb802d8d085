"""What depends on a row of a cache or on nothing is done once; the documents stay the same."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from enricher.fold import fold
from enricher.model import Document
from tests.test_overlay import bodies, plan_of, records_of

VPA = r"  - extract: {field: vpa, pattern: '@(?P<bank>[a-z]+)', lower: true}"


def test_what_follows_from_a_row_is_kept_beside_it(tmp_path: Path) -> None:
    """A bank's name follows from the bank: no event waits for the table, each has its own."""
    stages = VPA + "\n  - translate: {field: bank, target: name, table: {a: A}, default: '?'}"
    plan = plan_of(tmp_path, stages)
    events: list[dict[str, Any]] = [
        {"vpa": "x@a"},
        {"vpa": "x@b"},
        {"vpa": "none"},
        {"vpa": 5},
        {"y": 1},
        {"vpa": "x@a"},
    ]
    first, second, third, fourth, fifth, last = bodies(plan, events * 2)[6:]
    assert first == last == {"vpa": "x@a", "bank": "a", "name": "A"}
    assert second == {"vpa": "x@b", "bank": "b", "name": "?"}
    assert (third, fifth) == ({"vpa": "none"}, {"y": 1})
    assert fourth["failures"] == {"extract": "vpa is a number, not a text"}
    table = [stage.function for stage in plan.steps if stage.name == "translate"][0].__closure__
    assert table
    for cell in table:  # emptied behind its back: who is known already is not looked up again
        if type(cell.cell_contents) is dict:
            cell.cell_contents.clear()
    assert bodies(plan, events)[0]["name"] == "A"
    assert bodies(plan, [{"vpa": "x@new"}])[0]["name"] == "?"


@pytest.mark.parametrize(
    ("stages", "given", "expected"),
    [
        pytest.param(
            "  - set: {when: bank == null, fields: {name: none}}\n"
            "  - translate: {field: bank, target: name, table: {a: A}}",
            {"vpa": "x@a"},
            {"bank": "a", "name": "A"},
            id="another step writes the same field before",
        ),
        pytest.param(
            "  - translate: {field: bank, target: name, table: {a: A}}\n"
            "  - set: {when: other == 1, fields: {bank: z}}\n"
            "  - translate: {name: again, field: bank, target: second, table: {a: A, z: Z}}",
            {"vpa": "x@a", "other": 1},
            {"bank": "z", "name": "A", "second": "Z"},
            id="what it reads is written in between",
        ),
        pytest.param(
            "  - set: {fields: {seen: '{name}'}}\n"
            "  - translate: {field: bank, target: name, table: {a: A}}",
            {"vpa": "x@a"},
            {"bank": "a", "name": "A"},
            id="another step reads before it is written",
        ),
        pytest.param(
            "  - translate: {when: other == 1, field: bank, target: name, table: {a: A}}",
            {"vpa": "x@a"},
            {"bank": "a"},
            id="it stands under a test of its own",
        ),
        pytest.param(
            "  - translate: {field: bank, target: name, table: {a: 5}}\n"
            "  - normalize: {field: name, lower: true}",
            {"vpa": "x@a"},
            {
                "bank": "a",
                "name": 5,
                "tags": ["_normalize_failure"],
                "failures": {"normalize": "name is a number, not a text"},
            },
            id="it fails",
        ),
        pytest.param(
            "  - rename: {when: new != null, fields: {new: bank}}\n"
            "  - translate: {field: bank, target: new, table: {a: A}}",
            {"vpa": "x@a"},
            {"bank": "a", "new": "A"},
            id="a step that writes what the row gives is never done",
        ),
        pytest.param(
            "  - set: {when: name == null, fields: {lonely: true}}",
            {"vpa": "none"},
            {"lonely": True},
            id="it does something where there is no row",
        ),
    ],
)
def test_order_and_conditions_are_kept(
    tmp_path: Path, stages: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Whatever stands between a row and what reads it."""
    plan = plan_of(tmp_path, f"{VPA}\n{stages}")
    for _ in range(3):
        assert bodies(plan, [given]) == [given | expected]


def test_what_no_event_changes_is_done_once_a_batch(tmp_path: Path) -> None:
    """The clock is read for each batch, whatever moved out of the loop."""
    plan = plan_of(tmp_path, "  - set: {fields: {at: '{$now}', env: prod}}")
    one, two = (asyncio.run(plan.process(records_of([b'{"a":1}'] * 2))) for _ in range(2))
    documents = [orjson.loads(each.body) for each in [*one, *two] if isinstance(each, Document)]
    assert documents[0] == documents[1]
    assert [document["env"] for document in documents] == ["prod"] * 4
    plan.clock.text = "then"
    fast = plan.bet.fast(plan, [])
    assert fast is not None
    outcomes: list[Any] = [None]
    asyncio.run(fast.run(records_of([b'{"a":1}']), [{"a": 1}], outcomes))
    assert orjson.loads(outcomes[0].body)["at"] == "then"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("if None is not None and x: y = 1", ""),
        ("if None is None: y = 1\nelse: y = 2", "y = 1"),
        ("if x and None is None: y = 1", "if x and True:\n    y = 1"),
        ("if None is None and x: y = 1", "if x:\n    y = 1"),
        ("z = None is not None or x", "z = x"),
        ("if x:\n    if None is not None: y = 1", ""),
        ("try:\n    if None is not None: y = 1\nexcept E: z = 1", ""),
        ("if x:\n    pass\nelse:\n    y = 1", "if x:\n    pass\nelse:\n    y = 1"),
    ],
)
def test_branches_that_are_never_taken_go(source: str, expected: str) -> None:
    """And nothing else does."""
    assert ast.unparse(ast.Module(fold(ast.parse(source).body), [])) == expected
