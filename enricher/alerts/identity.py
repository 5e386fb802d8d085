"""Name a digest for good, so that whoever gets it twice can tell."""

from __future__ import annotations

from hashlib import sha256

from enricher.alerts.digest import Digest


def name_of(pipeline: str, digest: Digest) -> str:
    """Give the name of a digest: the same whenever it is sent, and that of no other."""
    records = [match.record_id for match in digest.shown]
    times = (digest.count, digest.first_at, digest.last_at)
    return short_hash(pipeline, digest.alert, *times, *records)


def short_hash(*parts: object) -> str:
    """Give 96 bits of a hash, as 24 characters."""
    return sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:24]
