"""The shipped fraud rules on generated fraud: windows need order, and a backtest gives it."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from enricher.backtest.backtest import Backtest
from enricher.backtest.history import History
from enricher.backtest.labels import Labels
from enricher.backtest.result import Result
from enricher.config import load
from enricher.generator import LabelledRecord, accounts, generate_fraud, users
from enricher.lookups import FileLookups

PIPELINE = Path(__file__).parents[2] / "pipelines" / "fraud-detection.yaml"


@pytest.fixture(scope="module")
def made() -> list[LabelledRecord]:
    return list(generate_fraud(8_000, 0.1, days=5))


def result_of(made: list[LabelledRecord], folder: Path, *, against: bool = False) -> Result:
    config = load(PIPELINE, {}, connections={})
    frauds = frozenset(one.payment_id for one in made if one.episode)
    labels = Labels("payment_id", frauds)
    known = FileLookups(dict([*users(), *accounts()]))
    backtest = Backtest(config, known, labels, config if against else None)
    file = folder / "history"
    file.write_bytes(b"".join(one.record.value + b"\n" for one in made))
    history = History([str(file)], label_field="payment_id")
    with asyncio.Runner() as runner:
        for entries in history.batches(config, backtest.rules.plan):
            runner.run(backtest.add(entries))
    return backtest.result(history, ["history"], 1.0)


def test_every_rule_finds_something(made: list[LabelledRecord], tmp_path: Path) -> None:
    """What the generator calls fraud looks so to the rules; two plans keep windows of their own."""
    result = result_of(made, tmp_path, against=True)
    (score,) = result.scores
    assert all(rule.hits > 0 for rule in score.rules)
    assert score.frauds == 800
    medium = next(level for level in score.levels if level.above == 30)
    assert medium.quality
    assert medium.quality.recall
    assert medium.quality.recall > 0.8
    assert result.outputs.keys() == {"high", "high-kept", "medium"}
    assert result.against
    assert result.against.changed == 0


def test_order_within_the_bound_changes_nothing(made: list[LabelledRecord], tmp_path: Path) -> None:
    """A history whose records are late by minutes gives every score that the ordered one gives."""
    dice = random.Random(1)
    late = sorted(made, key=lambda one: one.record.timestamp + dice.randrange(200_000))
    assert [one.payment_id for one in late] != [one.payment_id for one in made]
    assert result_of(late, tmp_path).scores == result_of(made, tmp_path).scores
