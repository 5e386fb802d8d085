"""Documents for the tests of sinks."""

from __future__ import annotations

from enricher.model import Alert, Document, Record

NOON = 1_732_190_400_000
"""A Kafka timestamp, in milliseconds."""


def document(
    number: int = 0,
    body: bytes = b'{"level":"INFO"}',
    *,
    identity: str | None = None,
    version: int | None = None,
    index: str = "logs-2024.11.21",
    alerts: tuple[Alert, ...] = (),
) -> Document:
    """Make a document of the record with this offset."""
    own = f"logs-0-{number}-{NOON}"
    record = Record(b"raw", own, NOON, "logs/0", number)
    return Document(
        record, "logs", index, own if identity is None else identity, version, body, alerts
    )


def documents(count: int) -> list[Document]:
    """Make documents that can be told apart by `n`."""
    return [document(number, b'{"n":%d}' % number) for number in range(count)]
