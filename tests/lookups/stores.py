"""A store that is there or away as a test wants it, where the server itself is not what is tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from enricher.lookups.store import Answer
from enricher.model import Unavailable

AWAY = "redis is away"


class Store:
    """Knows some values, or is away; notes what it is asked."""

    def __init__(self, values: Mapping[str, bytes], *, lasting: bool = False) -> None:
        self.values = values
        self.lasting = lasting
        self.is_away = False
        self.asked: list[list[str]] = []
        self.hash_fields: list[Sequence[str] | None] = []

    async def get_many(
        self, keys: Sequence[str], hash_fields: Sequence[str] | None = None
    ) -> list[Answer]:
        self.asked.append(list(keys))
        self.hash_fields.append(hash_fields)
        if self.is_away:
            return [Unavailable(AWAY)] * len(keys)
        return [self.values.get(key) for key in keys]

    async def close(self) -> None:
        """Nothing is open."""
