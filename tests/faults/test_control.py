"""The checker catches what it is there to catch: a wrong pipeline, and each kind of error alone."""

from __future__ import annotations

import subprocess
import sys
import time
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


def test_auto_commit_and_chosen_ids_are_caught(world: World) -> None:
    """The negative control, killed like the others, loses and doubles records; the checker says so."""
    world.ledger.send(SCALE.control_events, seed=SCALE.seed)
    index = "payment-logs-control"
    command = [sys.executable, "-m", "tests.faults.control", world.kafka.bootstrap]
    command += [world.elasticsearch.url, world.group, index, *world.topics]
    log = world.folder / "control.log"
    for seconds in (2.5, 3.5, None):
        with log.open("ab") as output:
            process = subprocess.Popen(command, stderr=output, cwd=Path(__file__).parents[2])
        try:
            if seconds is None:
                world.until_settled()
                time.sleep(2)  # what is committed is not written yet
            else:
                before = world.indexed()
                world.until(lambda at=before: world.indexed() > at, 60, "anything indexed")
                time.sleep(seconds)
        finally:
            process.kill()
            process.wait()
    verdict = world.verdict()
    assert verdict.lost, verdict
    assert verdict.twice, verdict
    results.note("negative control (auto-commit, chosen ids)", verdict, kills=2)
