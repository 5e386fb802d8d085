"""The stores that `lookup` stages ask: Redis, a cluster of them, a file, or nothing."""

from __future__ import annotations

from enricher.connections import RedisConnection
from enricher.lookups.file import FileLookups, read_lookups
from enricher.lookups.store import Lookups, NoLookups

__all__ = ["FileLookups", "Lookups", "NoLookups", "open_lookups", "read_lookups"]


def open_lookups(connection: RedisConnection | None) -> Lookups:
    """Choose the store by its connection; nothing is connected yet. Raises UserError."""
    if connection is not None and connection.file is not None:
        return FileLookups(read_lookups(connection.file))
    if connection is None or connection.url is None:
        return NoLookups()
    from enricher.lookups.cluster import ClusterLookups
    from enricher.lookups.redis import RedisLookups

    return ClusterLookups(connection) if connection.cluster else RedisLookups(connection)
