"""Look up in a file that is read once, when the plan is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from enricher.lookups.store import Answer
from enricher.model import UserError


class FileLookups:
    """Answers from what a file held.

    Args:
        values: JSON by key.
    """

    lasting = True

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self._values = values

    async def get_many(
        self,
        keys: Sequence[str],
        hash_fields: Sequence[str] | None = None,  # noqa: ARG002 - the protocol's
    ) -> list[Answer]:
        """Give the values in order."""
        return [self._values.get(key) for key in keys]

    async def close(self) -> None:
        """Free nothing."""


def read_lookups(file: Path) -> dict[str, bytes]:
    """Read a file of `{"key": …, "value": …}` lines that stands in for a server.

    A text value is kept as it is, any other as JSON. Raises UserError that names file and line.
    """
    values: dict[str, bytes] = {}
    number = 0
    try:
        with file.open("rb") as lines:
            for line in lines:
                number += 1
                if line.strip():
                    entry = orjson.loads(line)
                    value = entry["value"]
                    values[entry["key"]] = (
                        value.encode()
                        if isinstance(value, str)
                        else b"".join((orjson.dumps(value), b""))  # copied to its size
                    )
    except OSError as error:
        raise UserError(f"lookups {file} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f'{file}:{number}: write {{"key": …, "value": …}}, one a line') from None
    return values
