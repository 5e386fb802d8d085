"""Generate the records that a pipeline must survive."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from enricher.generator.clock import DEFAULT_START
from enricher.generator.dice import Dice
from enricher.generator.hostile_fields import FIELD_CASES
from enricher.generator.hostile_text import TEXT_CASES

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = {**TEXT_CASES, **FIELD_CASES}

# Every record of these cases belongs in the dead-letter queue; of the others some do, most do not.
DEAD_LETTER_CASES = frozenset(
    {
        *("not_json", "truncated", "not_utf8", "nan_infinity", "not_object", "blank"),
        *("depth_65", "depth_1000", "depth_100000", "above_mib"),
        *("lone_surrogate", "key_empty", "key_outer_dot"),
    }
)

_TOPICS = ("payment-logs", "payment-logs", "order-logs", "user-logs", "fraud-logs")
_KEYS = (b"user-00007", None, b"", b"\xff\xfe", b"\x00", b"k" * 1024, "ключ".encode())
_STEP_MS = 250


class HostileRecord(NamedTuple):
    """Hold a record that is broken, or well formed and meant to break something.

    Args:
        topic: name of the Kafka topic.
        key: any bytes, or None.
        value: any bytes.
        timestamp: Kafka timestamp in ms since the epoch, always a sound one.
        case: what is wrong with it, a key of `CASES`.
    """

    topic: str
    key: bytes | None
    value: bytes
    timestamp: int
    case: str


def hostile(count: int, seed: int = 1) -> Iterator[HostileRecord]:
    """Yield broken records, case after case, in another variant each round.

    Large values are built once and shared, so that a list of many records stays small in memory.

    Args:
        count: number of records; from `len(CASES)` on every case occurs.
        seed: chooses what is left to chance; the variants come in a fixed order.
    """
    dice = Dice(seed)
    names = tuple(CASES)
    begin = int(DEFAULT_START.timestamp()) * 1000
    for index in range(count):
        turn, at = divmod(index, len(names))
        case = names[at]
        value = CASES[case](turn, dice)
        key = _KEYS[turn % len(_KEYS)]
        yield HostileRecord(dice.pick(_TOPICS), key, value, begin + index * _STEP_MS, case)
