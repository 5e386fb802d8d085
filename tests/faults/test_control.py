"""The checker catches what it is there to catch: a wrong pipeline, and each kind of error alone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import results
from .checker import Found, Letter, check
from .ledger import Entry
from .scale import SCALE
from .world import World

EVENT = {"sequence": 3, "amount": 1.5, "user_id": None}
DOCUMENT = EVENT | {"geo_country": "India", "processed_at": "now"}
ENTRY = Entry.of("t", 0, 7, 1000, 3, b"raw", EVENT)
LETTER = Letter("t-0-7-1000", b"raw", {})
INDEXED = Found("i", "t-0-7-1000", DOCUMENT)


@pytest.mark.parametrize(
    ("documents", "letters", "wrong"),
    [
        ([INDEXED], [], []),
        ([], [LETTER], []),
        ([], [LETTER, LETTER], []),
        ([], [], ["lost"]),
        ([INDEXED, INDEXED._replace(index="j")], [], ["twice"]),
        ([INDEXED], [LETTER], ["twice"]),
        ([INDEXED, INDEXED._replace(id="x")], [], ["twice", "unknown"]),
        ([INDEXED._replace(fields=DOCUMENT | {"amount": 2})], [], ["altered"]),
        ([INDEXED._replace(fields={"sequence": 3, "amount": 1.5})], [], ["altered"]),
        ([], [LETTER._replace(value=b"other")], ["altered"]),
        ([INDEXED, INDEXED._replace(id="x", fields={})], [], ["unknown"]),
    ],
)
def test_each_kind_of_error_is_told(
    documents: list[Found], letters: list[Letter], wrong: list[str]
) -> None:
    """A record that is nowhere, in two places, changed, or from nobody; enrichment is no change."""
    verdict = check([ENTRY], documents, letters)
    kinds = ("lost", "twice", "altered", "unknown")
    assert [kind for kind in kinds if getattr(verdict, kind)] == wrong
    assert verdict.clean == (not wrong)


@contextmanager
def control(world: World, commit_ms: int, late_s: float) -> Iterator[None]:
    """Run the wrong pipeline, and kill it in the end."""
    command = [sys.executable, "-m", "tests.faults.control", world.kafka.bootstrap]
    command += [world.elasticsearch.url, world.group, "payment-logs-control"]
    command += [str(commit_ms), str(late_s), *world.topics]
    with (world.folder / "control.log").open("ab") as output:
        process = subprocess.Popen(command, stderr=output, cwd=Path(__file__).parents[2])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_auto_commit_and_chosen_ids_are_caught(world: World) -> None:
    """The negative control loses and doubles records when it is killed; the checker says so."""
    world.ledger.send(SCALE.control_events, seed=SCALE.seed)
    with control(world, commit_ms=100, late_s=30):  # killed when it has committed, not written
        world.until(lambda: world.lag() < len(world.ledger), 60, "anything committed")
    with control(world, commit_ms=600_000, late_s=0):  # killed when it has written, not committed
        world.until_indexed(1)
    with control(world, commit_ms=500, late_s=0):
        world.until_settled()
        time.sleep(2)  # what is committed need not be written yet
    verdict = world.verdict()
    assert verdict.lost, verdict
    assert verdict.twice, verdict
    results.note("negative control (auto-commit, chosen ids)", verdict, kills=3)
