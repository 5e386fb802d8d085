"""Records that are broken in every way: those of the generator, and events whose bytes were changed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from enricher.generator import HostileRecord, generate, hostile

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
