"""Keep dead letters in a compacted Kafka topic: the value is the original, the rest is headers."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from enricher.connections import KafkaConnection
from enricher.dead_letters.letter import now
from enricher.histogram import Histogram
from enricher.kafka.producer import Message, Producer, Refusal
from enricher.model import DeadLetter, Record

log = structlog.get_logger(__name__)

_TOO_LARGE = ("MessageSizeTooLargeError", "RecordListTooLargeError")
_EXISTS = 36
_KAFKA_STREAM = re.compile(r"([a-zA-Z0-9._-]+)/(\d+)")
_REASON = 4096
_KEY = 64 << 10
_PAUSE_S = 5.0


class DeadLetterTopic:
    """Writes dead letters under the record's id, so that a second letter of it is no second.

    Args:
        connection: The cluster.
        topic: Made, compacted, by `open()` if it is missing.
        pipeline: Name and hash of the pipeline, for whoever reads the letter.
        max_message_bytes: Of a letter. More than the limit of a record, so that a record is kept
            whole; what is larger all the same is cut.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topic: str,
        pipeline: str,
        *,
        max_message_bytes: int = 4 << 20,
    ) -> None:
        self._connection = connection
        self._topic = topic
        self.pipeline = pipeline
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
        """Connect, waiting while the cluster is away, and make the topic if it is missing."""
        await self._producer.open()
        await self._create_topic()

    async def _create_topic(self) -> None:
        # aiokafka insists on assignments where the numbers are left to the broker (-1).
        # The topic's limit is on compressed batches: what does not compress grows a little.
        limit = self._producer.max_message_bytes * 65 // 64
        settings = {"cleanup.policy": "compact", "max.message.bytes": str(limit)}
        wanted = NewTopic(self._topic, -1, -1, replica_assignments={}, topic_configs=settings)
        admin = AIOKafkaAdminClient(**self._connection.client_options())
        try:
            await admin.start()
            answer = await admin.create_topics([wanted])
            ((_, code, *message),) = answer.topic_errors
            if code == _EXISTS:
                await self._check_topic(admin, limit)
            elif code:  # it may exist and this user may not create topics
                log.warning("dead-letter topic not created", topic=self._topic, error=message)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("dead-letter topic not created", topic=self._topic, error=repr(error))
            return
        finally:
            await admin.close()

    async def _check_topic(self, admin: AIOKafkaAdminClient, limit: int) -> None:
        """Warn where a topic that others made does not keep what it is given."""
        resource = ConfigResource(ConfigResourceType.TOPIC, self._topic)
        (answer,) = await admin.describe_configs([resource])
        (described,) = answer.resources  # without settings where this user may not see them
        settings = {name: value for name, value, *_ in described[4]}
        limits = [settings.get(name, "-1") for name in ("retention.ms", "retention.bytes")]
        if "delete" in settings.get("cleanup.policy", "") and limits != ["-1", "-1"]:
            log.warning("dead letters expire: set cleanup.policy=compact", topic=self._topic)
        if int(settings.get("max.message.bytes", limit)) < limit:
            log.warning(
                "large dead letters will be cut, and cannot be replayed: set max.message.bytes",
                topic=self._topic,
                needed=limit,
            )

    async def write(self, letters: list[DeadLetter]) -> None:
        """Return once every letter is durable; while none can be written, this waits."""
        time = now()
        messages = [self._message(letter, time) for letter in letters]
        originals = {message.key: message for message in messages}
        limits = self._limits()
        while refusals := await self._producer.send(messages):
            limit = next(limits, 0)
            messages = [self._lesser(refused, originals, limit) for refused in refusals]
            if any(refused.error not in _TOO_LARGE for refused in refusals):
                log.error("dead letter refused", topic=self._topic, reason=refusals[0].reason)
                await asyncio.sleep(_PAUSE_S)

    def _limits(self) -> Iterator[int]:
        """Sizes of value to try: what this producer takes, then ever less for the topic's sake."""
        size = self._producer.max_message_bytes
        while size > 1024:
            yield size
            size //= 4
        while True:
            yield 0

    def _lesser(self, refused: Refusal, originals: dict[bytes, Message], limit: int) -> Message:
        if refused.error not in _TOO_LARGE:
            return refused.message
        original = originals[refused.message.key]
        value = original.value or b""
        headers = (*original.headers, *_cut(value))
        room = limit - original._replace(value=b"", headers=headers).size
        return original._replace(value=value[: max(0, room)], headers=headers)

    def _message(self, letter: DeadLetter, time: str) -> Message:
        record = letter.record
        headers = (
            *_coordinates(record),
            *(_cut(record.value) if len(record.key or b"") > _KEY else ()),
            *((("masked", b"true"),) if letter.is_masked else ()),
            ("stage", letter.stage.encode(errors="replace")),
            ("error", letter.error.encode(errors="replace")),
            ("reason", letter.reason.encode(errors="replace")[:_REASON]),
            ("pipeline", self.pipeline.encode()),
            ("time", time.encode()),
        )
        return Message(self._topic, record.id.encode(), record.value, headers)

    async def close(self) -> None:
        """Free the connection."""
        await self._producer.close()


def _coordinates(record: Record) -> Iterator[tuple[str, bytes]]:
    yield "stream", record.stream.encode(errors="surrogateescape")
    if match := _KAFKA_STREAM.fullmatch(record.stream):
        yield "topic", match[1].encode()
        yield "partition", match[2].encode()
    yield "offset", str(record.position).encode()
    if record.timestamp is not None:
        yield "timestamp", str(record.timestamp).encode()
    if record.key is not None:
        yield "key", record.key[:_KEY]


def _cut(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Tell that a letter is not all of its record, and what the whole was."""
    yield "truncated", b"true"
    yield "sha256", hashlib.sha256(value).hexdigest().encode()
    yield "size", str(len(value)).encode()
