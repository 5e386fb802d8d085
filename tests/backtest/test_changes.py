"""What another file would change: event by event, counted, and nothing else."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from enricher.backtest.changes import EXAMPLES, MOST_FIELDS, OTHER_FIELDS, differ_in
from enricher.backtest.result import AgainstResult, Changed, LevelMove
from enricher.inline_tests import ABSENT, Difference, is_same

from .histories import ABROAD, BAD, HARMLESS, LARGE, NIGHT, RULES, backtest, payment

KINDS = [HARMLESS, NIGHT, LARGE, ABROAD, BAD]
EVENTS = [payment(number, **fields) for number, fields in enumerate(KINDS)]


def against(text: str, events: list[Any] | None = None) -> tuple[AgainstResult, list[Changed]]:
    result, changed, _ = backtest(events or EVENTS, against=text)
    assert result.against
    return result.against, changed


def test_a_rule_that_weighs_more() -> None:
    """Night counts 30 in place of 5: one event rises to the highest level, with all that brings."""
    found, changed = against(RULES.replace("add: 5", "add: 30"))
    (one,) = changed
    assert one.scores == {"risk": (5, 30)}
    assert one.differences == (
        Difference("index", "logs-2025.10.20", "critical-2025.10.20"),
        Difference("alerts", [], ["Risky"]),
        Difference("event.score", 5, 30),
        Difference("event.risk_level", ABSENT, "high"),
        Difference("event.review", ABSENT, True),
    )
    assert one.label == "p1"
    assert (found.changed, found.share) == (1, 0.2)
    assert (found.scores, found.levels, found.alerts, found.indices, found.outcomes) == (
        1,
        1,
        1,
        1,
        0,
    )
    assert (found.new_alerts, found.lost_alerts) == ({"Risky": 1}, {})
    assert found.fields == {"score": 1, "risk_level": 1, "review": 1}
    assert found.examples == (one,)
    assert found.moves["risk"] == (
        LevelMove("high (≥ 25)", "high (≥ 25)", 1),
        LevelMove("medium (≥ 10)", "medium (≥ 10)", 2),
        LevelMove("no level", "high (≥ 25)", 1),
        LevelMove("no level", "no level", 1),
    )


def test_the_same_rules_change_nothing() -> None:
    """Neither the time of processing nor another name of the file's pipeline is a change."""
    set_stage = '  - set: {fields: {at: "{$now}", by: "{$pipeline}"}}\n  - drop:'
    text = RULES.replace("  - drop:", set_stage)
    result, changed, _ = backtest(EVENTS, text, against=text.replace("name: tiny", "name: new"))
    assert changed == []
    assert result.against
    assert result.against.changed == 0
    assert result.against.examples == ()


def test_scored_by_one_alone() -> None:
    """Where a stage is skipped, or is not there, its events are not scored."""
    found, changed = against(RULES.replace('kind == "payment"', "amount > 100"))
    assert [one.scores["risk"] for one in changed] == [(0, None), (5, None), (20, None)]
    assert LevelMove("medium (≥ 10)", "not scored", 1) in found.moves["risk"]
    renamed, _ = against(RULES.replace("name: risk", "name: danger"))
    assert set(renamed.moves) == {"risk", "danger"}
    assert renamed.scores == 5
    assert renamed.fields == {}


def test_documents_dead_letters_and_drops_are_told_apart() -> None:
    """A record that becomes something else is a change of outcome; one that stays is none."""
    events = [*EVENTS, payment(5, kind="noise"), b"no JSON"]
    found, changed = against(RULES.replace('kind == "noise"', "amount > 100"), events)
    outcomes = [one.differences[0] for one in changed if one.differences[0].path == "outcome"]
    dropped, kept = "dropped at drop", "document in logs-2025.10.20"
    assert outcomes == [
        Difference("outcome", kept, dropped),
        Difference("outcome", "document in critical-2025.10.20", dropped),
        Difference("outcome", dropped, kept),
    ]
    assert (found.outcomes, found.changed) == (3, 3)


def test_the_largest_changes_are_the_examples() -> None:
    """The first of those that are as large; so many and no more."""
    events = [payment(n, amount=500 if n % 7 == 0 else 10, night=True) for n in range(60)]
    found, changed = against(
        RULES.replace("add: 5", "add: 10").replace("add: 10,", "add: 19,", 1), events
    )
    assert found.changed == len(changed) == 60
    assert len(found.examples) == EXAMPLES
    assert [one.label for one in found.examples] == ["p0", "p7", "p14", "p21", "p28"]


OUTPUTS = """outputs:
  - {name: found, when: score >= 20, kafka: {topic: found, body: {score: "{score}"}}}
"""


def test_outputs_are_compared() -> None:
    """One more that would be sent, and one that would say something else."""
    text = RULES.replace("alerts:", f"{OUTPUTS}alerts:")
    result, changed, _ = backtest(
        EVENTS, text, against=text.replace("add: 5", "add: 21").replace("cap: 30", "cap: 29")
    )
    found = result.against
    assert found
    assert result.outputs == {"found": 2}
    night, bad = changed
    sent = next(one for one in night.differences if one.path == "outputs.found")
    assert sent.expected is ABSENT
    assert Difference("outputs.found.body.score", 30, 29) in bad.differences
    assert (found.outputs, found.new_outputs, found.lost_outputs) == (2, {"found": 1}, {})


def test_names_of_fields_are_bounded() -> None:
    """Events that make names up do not fill the memory."""
    events = [payment(number, **{f"made_up_{number}": number}) for number in range(2 * MOST_FIELDS)]
    remove = "\n".join(f"made_up_{number}, " for number in range(2 * MOST_FIELDS))
    text = RULES.replace(
        "  - drop:", f"  - remove: {{fields: [{' '.join(remove.split())}]}}\n  - drop:"
    )
    found, _ = against(text, events)
    assert found.changed == 2 * MOST_FIELDS
    assert len(found.fields) == MOST_FIELDS + 1
    assert found.fields[OTHER_FIELDS] == MOST_FIELDS


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(VALUES, VALUES)
def test_a_difference_is_found_where_there_is_one(old: Any, new: Any) -> None:
    """As the tests of pipeline files compare: 1 is 1.0, and neither is true; both ways the same."""
    found = list(differ_in("event", old, new))
    assert (not found) == is_same(old, new)
    back = [Difference(path, new_value, old_value) for path, old_value, new_value in found]
    assert sorted(map(repr, back)) == sorted(map(repr, differ_in("event", new, old)))
