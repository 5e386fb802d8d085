"""Records that are broken in every way: each ends in an index or, with its reason, in the dead letters."""

from __future__ import annotations

from enricher.config import load
from enricher.generator import users
from enricher.lookups import FileLookups
from enricher.model import Record
from tests.integration import ledger as indices

from . import results
from .mutated import mutated
from .scale import SCALE
from .world import World


def test_every_mutated_record_is_indexed_or_a_dead_letter_with_its_reason(world: World) -> None:
    """Nothing blocks and nothing is left out; the dry-run says which are indexed, and as what."""
    records = list(mutated(SCALE.mutated, SCALE.seed))
    world.ledger.send_raw(records)
    daemon = world.start()
    world.until_settled()
    assert daemon.stop() == 0, world.logs
    verdict = world.verdict()
    assert verdict.clean, f"{verdict}\n{world.logs}"
    assert verdict.indexed + verdict.dead_letters == len(records)
    letters = {letter.id: letter for letter in world.letters()}
    for letter in letters.values():
        assert all(letter.headers[name] for name in ("stage", "error", "reason")), letter.headers
    read = [
        Record(r.value, e.id, r.timestamp, f"{e.topic}/{e.partition}", e.offset, r.key)
        for r, e in zip(records, world.ledger.entries, strict=True)
    ]
    known = FileLookups.__new__(FileLookups)
    known._values = dict(users())
    wanted = indices.expected(load(world.pipeline, world.environment), read, known)
    indices.verify(wanted, indices.indexed(world.elasticsearch), set(letters))
    reasons = {f"{one.headers['stage']}: {one.headers['error']}" for one in letters.values()}
    results.note(f"{len(records):,} mutated records", verdict, kinds_of_dead_letter=len(reasons))
