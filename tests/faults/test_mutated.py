"""Records that are broken in every way: each ends in an index or, with its reason, in the dead letters."""

from __future__ import annotations

import random
from collections.abc import Iterator

from enricher.config import load
from enricher.generator import HostileRecord, generate, hostile, users
from enricher.lookups import FileLookups
from enricher.model import Record
from tests.integration import ledger as indices

from . import results
from .scale import SCALE
from .world import World

LARGEST = 3 << 20
HOSTILE_SHARE = 10


def mutated(count: int, seed: int) -> Iterator[HostileRecord]:
    """Yield the hostile records of the generator, and events whose bytes were changed at random."""
    known = count // HOSTILE_SHARE
    yield from (r for r in hostile(known, seed=seed) if len(r.value) < LARGEST)
    dice = random.Random(seed)
    for record in generate(count - known, seed=seed, days=2):
        value = bytearray(record.value)
        for _ in range(dice.randint(1, 2)):
            _change(value, dice)
        yield HostileRecord(record.topic, record.key, bytes(value), record.timestamp, "mutated")


def _change(value: bytearray, dice: random.Random) -> None:
    """Flip, insert, delete, double or cut off bytes; mostly in ASCII."""
    at = dice.randrange(len(value) + 1)
    byte = dice.randrange(256)
    if dice.random() < 0.8:
        byte = dice.choice(b'0123456789abcxyz{}[]",:\\-')
    match dice.randrange(6):
        case 0:
            value[at:at] = bytes([byte])
        case 1:
            del value[at : at + dice.randint(1, 8)]
        case 2:
            value[at:at] = value[at : at + dice.randint(1, 64)]
        case 3:
            del value[max(at, len(value) - 40) :]
        case _:
            value[at : at + 1] = bytes([byte])


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
