"""Write documents to Kafka topics."""

from __future__ import annotations

from collections.abc import Sequence

from enricher.connections import KafkaConnection
from enricher.histogram import Histogram
from enricher.kafka.producer import Message, Producer
from enricher.model import Document, Output, Rejected


class KafkaSink:
    """Writes each document to the topic that its `index` names, under its id as the key.

    Kafka keeps no versions: of two documents with one id, the one written later is the last. An
    output goes to its own topic, under its own key.

    Args:
        connection: The cluster.
        max_message_bytes: A larger document is rejected; no more than the topics'
            `max.message.bytes` makes sense.
    """

    def __init__(self, connection: KafkaConnection, *, max_message_bytes: int = 1 << 20) -> None:
        self._producer = Producer(connection, max_message_bytes=max_message_bytes)

    @property
    def blocked(self) -> str | None:
        """Why nothing can be written at the moment, for readiness."""
        return self._producer.blocked

    @property
    def retries(self) -> int:
        """Batches that were sent again."""
        return self._producer.retries

    @property
    def latency(self) -> Histogram:
        """Of rounds of requests, in seconds."""
        return self._producer.latency

    async def open(self) -> None:
        """Connect, waiting while the cluster is away."""
        await self._producer.open()

    async def write(self, documents: Sequence[Document | Output]) -> list[Rejected]:
        """Return once every document is durable or refused for good; give the refused ones."""
        messages = [_message(document) for document in documents]
        refusals = await self._producer.send(messages)
        if not refusals:
            return []
        by_message = {id(message): at for at, message in enumerate(messages)}
        return [
            Rejected(documents[by_message[id(refused.message)]], refused.error, refused.reason)
            for refused in refusals
        ]

    async def close(self) -> None:
        """Free the connection."""
        await self._producer.close()


def _message(document: Document | Output) -> Message:
    if isinstance(document, Document):
        return Message(document.index, document.id.encode(), document.body)
    topic, key = document.to.topic, document.key.encode()
    return Message(topic, key, document.body, ((ID_HEADER, document.id.encode()),))


ID_HEADER = "id"
"""By which a reader knows a message again that was written twice."""
