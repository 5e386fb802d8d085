"""Throw dice that fall alike on every machine and Python version."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

T = TypeVar("T")

_STOCK = 64


class Dice:
    """Draw from one seeded stream.

    Only `random()` and `getrandbits()` are used, and no logarithm or power: Python promises nothing
    for the other methods between versions, and C libraries differ in the last bit.
    """

    __slots__ = ("bits", "identifier", "random")

    def __init__(self, seed: int) -> None:
        """Seed the stream."""
        source = random.Random(seed)  # noqa: S311  # reproducible, never a secret
        self.random = source.random
        self.bits = source.getrandbits
        self.identifier = _identifiers(source.getrandbits).__next__  # 32 hexadecimal digits

    def pick(self, pool: Sequence[T]) -> T:
        """Return one entry of the pool, each as likely as the next."""
        return pool[int(self.random() * len(pool))]

    def below(self, limit: int) -> int:
        """Return a whole number from 0 up to, not including, the limit."""
        return int(self.random() * limit)


def _identifiers(bits: Callable[[int], int]) -> Generator[str, None, None]:
    # Many from one draw: four times quicker than a draw for each.
    while True:
        digits = f"{bits(128 * _STOCK):0{32 * _STOCK}x}"
        for at in range(0, 32 * _STOCK, 32):
            yield digits[at : at + 32]


def weighted(shares: Mapping[T, int]) -> tuple[T, ...]:
    """Return a pool for `Dice.pick` that holds each entry as often as its share says."""
    return repeated(shares.items())


def repeated(shares: Iterable[tuple[T, int]]) -> tuple[T, ...]:
    """Return the same for entries that cannot be keys."""
    return tuple(entry for entry, share in shares for _ in range(share))
