"""What records that are sent to us are called, so that a second sending is no second record."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING, Any

import orjson

from enricher import path
from enricher.http.answers import Refusal
from enricher.model import Failure, Record

if TYPE_CHECKING:
    from enricher.sources.http import Http

LONGEST = 256
"""Bytes of an id that a client gives; Elasticsearch takes 512 with what we put before it."""
_LARGEST = 1 << 20
"""Bytes of a record that is looked into for its id; a larger one is refused later anyway."""
_KEY = re.compile(rf"[!-~]{{1,{LONGEST}}}")
_record = Record._make


class Names:
    """Makes records of what was sent, each with its id.

    An `@` stands in no id of Kafka's or of a file's, so no client can take the place of a record
    that comes another way.
    """

    def __init__(self, config: Http) -> None:
        self._name = config.name
        self._run = f"{time.time_ns() // 1_000_000:x}{secrets.token_hex(4)}"
        self._requests = count()
        self._own = _reader(config.id_field) if config.id_field else None

    def records(self, values: Sequence[bytes], key: str | None, body: bytes) -> list[Record]:
        """Make records of all but blank ones.

        Args:
            values: One after the other, as they stood in the body.
            key: The request's `Idempotency-Key`, where it had one.
            body: All of it, inflated. Its hash goes into the ids: a key that is used again for
                something else, by mistake, loses nothing.

        Raises:
            Refusal: the key cannot be part of an id.
        """
        name, now = self._name, time.time_ns() // 1_000_000
        prefix = f"{name}@{self._prefix(key, body)}-"
        records = [
            _record((value, f"{prefix}{number}", now, name, number, None))
            for number, value in enumerate(values, 1)
            if value.strip()
        ]
        own = self._own
        if own is None:
            return records
        named = [(record, own(record[0])) for record in records]
        return [
            record if identity is None else record._replace(id=f"{name}@{identity}")
            for record, identity in named
        ]

    def _prefix(self, key: str | None, body: bytes) -> str:
        if key is None:
            return f"{self._run}-{next(self._requests):x}"
        if not _KEY.fullmatch(key):
            reason = f"Idempotency-Key has to be 1 to {LONGEST} visible ASCII characters"
            raise Refusal(400, reason)
        return f"{key}-{sha256(body).hexdigest()[:8]}"


def _reader(field: str) -> Callable[[bytes], str | None]:
    """Build the function that reads a record's own id; None where there is none that can be."""
    get = path.getter(field)

    def read(value: bytes) -> str | None:
        try:
            event: Any = orjson.loads(value) if len(value) <= _LARGEST else None
            found = get(event) if type(event) is dict else None
        except (orjson.JSONDecodeError, Failure):
            return None
        if type(found) is int:
            return str(found)
        if type(found) is not str or not 0 < len(found.encode()) <= LONGEST:
            return None
        return found

    return read
