"""What a `lookup` stage asks: a store of values by key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from enricher.model import Failure, Unavailable

Answer = bytes | Failure | Unavailable | None
"""JSON; why what is stored is of no use; why the store could not be asked; or nothing."""


class Lookups(Protocol):
    """A store of values by key, asked once for a batch."""

    lasting: bool
    """Whether an answer may be kept for a while."""

    async def get_many(
        self, keys: Sequence[str], hash_fields: Sequence[str] | None = None
    ) -> list[Answer]:
        """Give what is stored under each key, in order. Never raises.

        Args:
            keys: all different.
            hash_fields: where hashes are stored and not texts: the fields that are wanted, all
                where empty. A hash is given as a JSON object.
        """
        ...

    async def close(self) -> None:
        """Free the connections."""
        ...


class NoLookups:
    """Stands where no store is configured, as in a dry-run: it knows nobody."""

    lasting = True

    async def get_many(
        self,
        keys: Sequence[str],
        hash_fields: Sequence[str] | None = None,  # noqa: ARG002 - the protocol's
    ) -> list[Answer]:
        """Give None for every key."""
        return [None] * len(keys)

    async def close(self) -> None:
        """Free nothing."""
